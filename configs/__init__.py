"""The experiments that come with cnnjax, one a file: `--config=digits`, `--config=cifar10:resnet18`.

Installed, this is the package `cnnjax.configs`.
"""
