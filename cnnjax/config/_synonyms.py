"""What other tools call our options, so that a word that is common elsewhere leads to the path that is meant."""

MEANT = {
    "train.batch": ("batch_size", "bs", "per_device_train_batch_size", "b"),
    "train.epochs": ("epochs", "num_epochs", "max_epochs", "n_epochs", "num_train_epochs"),
    "train.steps": ("steps", "max_steps", "num_steps", "iterations", "total_steps"),
    "train.minutes": ("max_time", "time_limit", "max_minutes"),
    "train.init": ("pretrained", "weights", "init", "finetune", "initial_checkpoint", "pretrained_weights"),
    "train.patience": ("patience", "early_stopping", "early_stopping_patience", "es_patience"),
    "train.precision": ("precision", "amp", "fp16", "bf16", "mixed_precision", "amp_dtype", "dtype"),
    "train.devices": ("gpus", "num_gpus", "num_devices"),
    "optimizer.lr": ("lr", "learning_rate", "base_lr", "init_lr", "max_lr"),
    "optimizer.decay": ("wd", "weight_decay", "l2"),
    "optimizer.clip": ("clip", "clip_grad", "grad_clip", "max_grad_norm", "gradient_clip_val", "clip_norm"),
    "optimizer.ema": ("ema", "model_ema_decay", "ema_decay"),
    "optimizer.accumulate": (
        *("accumulate", "grad_accum_steps", "accumulate_grad_batches", "gradient_accumulation_steps"),
        *("gradient_accumulation", "grad_accum"),
    ),
    "optimizer.freeze": ("freeze", "trainable", "requires_grad"),
    "optimizer.name": ("opt", "optim", "optimizer"),
    "data.labelled": ("num_labels", "n_labels", "num_labeled", "labels_per_class"),
    "data.sampling": ("sampler", "sampling", "oversample"),
    "schedule.name": ("sched", "scheduler", "lr_scheduler", "schedule"),
    "schedule.warmup_epochs": ("warmup", "warmup_epochs"),
    "schedule.warmup_steps": ("warmup_steps", "num_warmup_steps", "warmup_t"),
    "model.name": ("model", "arch", "architecture", "net", "backbone"),
    "model.remat": ("remat", "grad_checkpointing", "gradient_checkpointing", "checkpoint_activations"),
    "data.name": ("dataset", "data"),
    "data.root": ("root", "data_dir", "data_path", "data_root", "dataset_dir"),
    "data.holdout": ("holdout", "validation_split", "val_split", "valid_pct", "val_fraction"),
    "data.workers": ("num_workers", "j", "workers"),
    "task.name": ("task", "loss", "criterion"),
    "task.weights": ("class_weights", "class_weight"),
    "task.smoothing": ("smoothing", "label_smoothing"),
    "augment.train": ("augment", "transforms", "augmentation", "augmentations", "aug", "transform"),
    "eval.views": ("tta", "views"),
    "checkpoint.metric": ("monitor", "eval_metric"),
    "checkpoint.minutes": ("train_time_interval", "save_minutes"),
    "checkpoint.keep": ("save_total_limit", "checkpoint_hist", "save_top_k"),
    "seed": ("seed", "random_state", "random_seed"),
}
"""Paths of a config, each with the words that may stand for it."""

_PATHS = {word: path for path, words in MEANT.items() for word in words}


def meant(path: str) -> str:
    """The config path that a word of another tool (`batch-size`, `learning_rate`) stands for, or "".

    One of our own (`task.weights`, where the task at hand has no such option) stands for nothing else.
    """
    word = path.rpartition(".")[2].replace("-", "_").lower()
    return "" if "." in path and path in MEANT else _PATHS.get(word, "")
