"""The rules of the house, as far as a machine can see them."""

import ast
import functools
import importlib
import inspect
import re
import sys
import typing
from pathlib import Path

import pytest

import cnnjax
from cnnjax import config as sections
from cnnjax.annotations import peeled
from tests.processes import printed

ROOT = Path(__file__).parents[1]
FILES = sorted(path for folder in ("cnnjax", "experiments", "configs") for path in (ROOT / folder).rglob("*.py"))
ROOMS = (
    *("ops", "layers", "models", "augment", "data", "tasks", "config", "runs", "train", "sweep", "analysis", "weights"),
    "programs",
)
# what every room may know of the package itself
TOP = (
    *("Static", "__version__", "_versions", "annotations", "refusals", "archives"),
    *("fields", "carrying"),  # the words of a batch: what is so of them, and the same done to arrays; both know no room
)
FORBIDDEN = ("utils", "util", "common", "base", "helpers", "helper", "misc")
MAY_IMPORT = {  # a room, and the rooms and files of other rooms that it may know
    "ops": (),
    "layers": ("ops",),
    "models": ("layers", "ops"),
    "augment": ("ops",),
    "data": (),
    "tasks": ("ops",),
    "weights": (),
    "config": (),  # entries are found by name
    "runs": ("config",),
    "train": (
        *("tasks.contract", "data.source", "data.stream", "augment.pipeline", "augment.views"),
        *("config", "runs", "ops", "weights"),
    ),
    "sweep": ("train", "runs", "config", "models", "ops"),
    "analysis": ("train", "runs", "config", "models", "ops"),
    "configs": ("config", "sweep.space"),
}
UNPROMISED = (  # modules of theirs that are not for users, or may change in any release
    *("jax._src", "jax.core", "jax.extend", "jax.interpreters", "jaxlib", "optax._src", "optuna.trial.Trial"),
    *("tensorflow_datasets.core", "tensorflow_datasets.proto", "tensorboardX"),
)
UNDOCUMENTED = ("name_stack", "source_info", "effects", "mat", "primitive_batchers", "RAW_BYTES")  # attributes
OPEN = {"section", "augmentation", "call"}  # of config: their keywords are those of the entry they are told


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def room(path: Path) -> str:
    parts = path.relative_to(ROOT).parts
    if parts[0] != "cnnjax":
        return parts[0]
    return parts[1] if parts[1] in ROOMS else parts[1].removesuffix(".py")


def imports(path: Path):
    """(line, what of cnnjax is imported, dotted, without cnnjax itself) for every import, those in functions too."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            names = inside if node.module in ("cnnjax", *(f"cnnjax.{name}" for name in ROOMS)) else [node.module]
        else:
            assert not isinstance(node, ast.ImportFrom), f"{path}:{node.lineno} imports relatively"
            continue
        for name in names:
            if name.startswith("cnnjax."):
                yield node.lineno, name.removeprefix("cnnjax.")


def functions(path: Path):
    return [node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def public_functions(path: Path):
    """Functions that others may call: not private, not inside another function, in a class that is not private."""
    stack = list(tree(path).body)
    while stack:
        node = stack.pop()
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            stack += node.body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node


def told(problems: list[str]) -> None:
    assert not problems, "\n" + "\n".join(problems)


def place(path: Path, line: int = 0) -> str:
    return f"{path.relative_to(ROOT)}" + (f":{line}" if line else "")


def test_imports_point_down_only():
    problems = []
    for path in FILES:
        here = room(path)
        allowed = MAY_IMPORT.get(here)
        for line, name in imports(path):
            there = name.partition(".")[0]
            if allowed is None or there == here or there in TOP:
                continue
            if not any(name == known or name.startswith(f"{known}.") for known in allowed):
                known = ", ".join(allowed) or "nothing"
                problems.append(f"{place(path, line)}: {here} may not import {name}; only {known}")
    told(problems)


def strings(path: Path):
    """(line, text) of every string that is no docstring; of an f-string its constant parts."""
    holders = (ast.Module, ast.ClassDef, ast.FunctionDef)
    told = [
        node.body[0].value for node in ast.walk(tree(path)) if isinstance(node, holders) and ast.get_docstring(node)
    ]
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in told:
            yield node.lineno, node.value


def test_no_string_names_a_module_further_up():
    """What is found by a name is found by the package itself, which alone knows where its rooms are."""
    problems = []
    for path in FILES:
        here = room(path)
        if here not in MAY_IMPORT:  # programs, which say what one types, and the package itself
            continue
        for line, text in strings(path):
            for name in re.findall(r"\bcnnjax\.([a-z_.]+)|\b(?=experiments\.)([a-z_.]+)", text):
                name = "".join(name).strip(".")
                allowed = (here, *MAY_IMPORT[here], *TOP)
                if not any(name == known or name.startswith(f"{known}.") for known in allowed):
                    problems.append(f"{place(path, line)} names {name} in {text!r}")
    told(problems)


def undocumented(path: Path):
    """(line, name) of what a file uses of other packages that these have not documented."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute):
            names = [ast.unparse(node)]
            private = node.attr.startswith("_") and not node.attr.endswith("__")
            if node.attr in UNDOCUMENTED or (private and node.attr not in our_private_names()):
                yield node.lineno, names[0]
        else:
            continue
        yield from ((node.lineno, name) for name in names if name.startswith(UNPROMISED))


@functools.cache
def our_private_names() -> set[str]:
    """Every private name that a file of the project defines, as a function, class, variable, attribute or file."""
    names = {"_exit", *(path.stem for path in FILES)}  # os._exit is documented
    for path in FILES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                names.add(node.name)
            elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
                names.add(node.id if isinstance(node, ast.Name) else node.attr)
    return names


def test_what_other_packages_have_not_documented_is_used_in_one_file_alone():
    problems = []
    for path in FILES:
        if path != ROOT / "cnnjax" / "_versions.py":
            problems += [f"{place(path, line)} uses {name}" for line, name in undocumented(path)]
    told(problems)
    found = {name for _, name in undocumented(ROOT / "cnnjax" / "_versions.py")}
    assert {"jax.extend.core.Primitive", "dtype._impl", "trial._suggest", "equation.effects"} <= found


def test_rooms_are_imported_by_others_without_their_private_files():
    problems = []
    for path in FILES:
        for line, name in imports(path):
            parts = name.split(".")
            if parts[0] in ROOMS and parts[0] != room(path) and any(part.startswith("_") for part in parts[1:]):
                problems.append(f"{place(path, line)} imports {name}, which is private to its room")
    told(problems)


def test_a_rooms_front_is_one_star_import_per_file():
    problems = []
    for name in ROOMS:
        front = ROOT / "cnnjax" / name / "__init__.py"
        if not front.exists():
            continue
        for node in tree(front).body:
            star = isinstance(node, ast.ImportFrom) and [alias.name for alias in node.names] == ["*"]
            docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            if not (star or docstring) and name in ("models", "augment", "data", "tasks", "ops", "layers"):
                problems.append(f"{place(front, node.lineno)} does more than import the room's files")
    told(problems)


def test_files_have_at_most_400_lines():
    sizes = {path: len(path.read_text().splitlines()) for path in FILES}
    told([f"{place(path)} has {size} lines" for path, size in sizes.items() if size > 400])


def test_functions_have_at_most_60_lines():
    problems = []
    for path in FILES:
        for node in functions(path):
            size = node.end_lineno - node.lineno + 1
            if size > 60:
                problems.append(f"{place(path, node.lineno)} {node.name} has {size} lines")
    told(problems)


def test_no_file_or_folder_is_a_drawer_for_odds_and_ends():
    told([place(path) for path in FILES if {part.strip("_") for part in (*path.parts, path.stem)} & set(FORBIDDEN)])


def test_no_file_has_the_name_of_a_public_function():
    """A room's front imports functions by name: one of a file's name would hide the file, or the file the function."""
    problems = []
    for path in FILES:
        if room(path) in ROOMS and not path.name.startswith("_"):
            module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
            if getattr(sys.modules[module.__package__], path.stem) is not module:
                problems.append(f"{place(path)} has the name of something that its room exports")
    told(problems)


def test_every_public_file_says_what_it_exports():
    problems = []
    for path in FILES:
        if room(path) in ROOMS and not path.name.startswith("_"):
            assigned = [ast.unparse(node.targets[0]) for node in tree(path).body if isinstance(node, ast.Assign)]
            if "__all__" not in assigned:
                problems.append(f"{place(path)} has no __all__")
    told(problems)


def test_every_file_and_public_function_has_a_docstring():
    problems = []
    for path in FILES:
        if path.name.startswith("_") and path.name != "__init__.py":
            continue
        if not ast.get_docstring(tree(path)):
            problems.append(f"{place(path)} has no docstring")
        for node in tree(path).body if "benchmarks" not in path.parts else ():
            public = isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
            if public and not ast.get_docstring(node):
                problems.append(f"{place(path, node.lineno)} {node.name} has no docstring")
    told(problems)


def test_public_functions_have_no_none_defaults_and_no_open_keywords():
    problems = []
    for path in FILES:
        if path.name.startswith("_"):
            continue
        for node in public_functions(path):
            method = node not in tree(path).body
            defaults = [*node.args.defaults, *filter(None, node.args.kw_defaults)]
            if any(isinstance(default, ast.Constant) and default.value is None for default in defaults):
                problems.append(f"{place(path, node.lineno)} {node.name} has a default None")
            if node.args.kwarg and not method and not (room(path) == "config" and node.name in OPEN):
                problems.append(f"{place(path, node.lineno)} {node.name} takes **{node.args.kwarg.arg}")
    told(problems)


def test_public_functions_say_the_types_of_all_that_they_take_and_give():
    problems = []
    for path in FILES:
        if path.name.startswith("_") or room(path) in ("experiments", "configs"):
            continue
        for node in tree(path).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                arguments = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
                bare = [argument.arg for argument in arguments if argument.annotation is None]
                bare += ["what it returns"] * (node.returns is None)
                problems += [f"{place(path, node.lineno)} {node.name}: {name} has no annotation" for name in bare]
    told(problems)


def test_public_functions_of_arrays_say_their_shapes_in_the_first_sentence():
    """Those of rooms whose every entry has the same first arguments need not: the room says their shapes."""
    entries = {function.__code__ for name in sections.ROOMS for function in sections.entries(name).values()}
    array = re.compile(r"(?<![\w.\[])(jax\.Array|np\.ndarray)(?![\w|])(?! \|)")
    shape = re.compile(r"\([^()]*[A-Z*…\d,][^()]*\)|\d×\d|[Ss]haped like|[Aa] number|[Aa] key|scalar")
    problems = []
    for path in FILES:
        if path.name.startswith("_") or room(path) not in ROOMS:
            continue
        module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
        for node in tree(path).body:
            if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
                continue
            if getattr(inspect.unwrap(getattr(module, node.name)), "__code__", None) in entries:
                continue
            types = [argument.annotation for argument in node.args.args if argument.arg != "key"] + [node.returns]
            if any(annotation is not None and array.fullmatch(ast.unparse(annotation)) for annotation in types):
                sentence = (ast.get_docstring(node) or "").split("\n\n")[0]
                if not shape.search(sentence):
                    problems.append(f"{place(path, node.lineno)} {node.name}: {sentence}")
    told(problems)


def test_random_functions_take_their_key_first_and_call_it_key():
    problems = []
    for path in FILES:
        for node in functions(path):
            names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args) if argument.arg != "self"]
            if "rng" in names or ("key" in names[1:] and room(path) == "ops" and not node.name.startswith("_")):
                problems.append(f"{place(path, node.lineno)} {node.name}({', '.join(names)})")
    told(problems)


def test_asserts_are_for_proofs_not_for_users():
    told([place(path, node.lineno) for path in FILES for node in ast.walk(tree(path)) if isinstance(node, ast.Assert)])


def test_annotations_stay_readable_by_reflection():
    told([place(path) for path in FILES if "from __future__ import annotations" in path.read_text()])


def test_only_one_file_knows_the_checkpoint_library_and_only_one_knows_devices():
    def users(word):
        return {place(path) for path in FILES if word in path.read_text()}

    assert users("import orbax") | users("from orbax") <= {"cnnjax/runs/checkpoints.py"}
    assert users("shard_map(") | users("jax.pmap(") <= {"cnnjax/train/parallel.py"}


def test_nothing_global_is_bound_anew():
    told([place(path, node.lineno) for path in FILES for node in ast.walk(tree(path)) if isinstance(node, ast.Global)])


def test_the_step_takes_numbers_as_arguments():
    """Not from closures that optax would have to be asked for, and no dropout that can't take a traced rate."""
    for path in FILES:
        text = path.read_text()
        assert "inject_hyperparams(" not in text, place(path)
        assert "nn.Dropout(" not in text, place(path)


@pytest.mark.parametrize("name", sections.ROOMS)
def test_every_entry_has_the_signature_of_its_room(name):
    functions = sections.entries(name)
    assert functions, f"cnnjax.{name} has no entry"
    problems = []
    for entry, function in functions.items():
        assert inspect.getdoc(function), f"{entry} has no docstring"
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind is parameter.KEYWORD_ONLY and parameter.annotation is parameter.empty:
                problems.append(f"{entry}: {parameter.name} has no annotation")
            if parameter.kind is parameter.VAR_KEYWORD:
                problems.append(f"{entry} takes **{parameter.name}")
            if isinstance(parameter.default, list | dict | set):
                problems.append(f"{entry}: the default of {parameter.name} can be changed by anyone; make it a tuple")
    told(problems)


def unlimited(annotation) -> bool:
    """Whether an annotation lets any text pass without saying that this is meant."""
    kind, marks = peeled(annotation)
    if kind is str:
        return "text" not in marks and not {"section", *sections.ROOMS} & {
            mark for mark in marks if isinstance(mark, str)
        }
    return any(unlimited(argument) for argument in typing.get_args(kind) if not isinstance(argument, str))


@pytest.mark.parametrize("room", [*sections.ROOMS, "options"])
def test_an_option_that_is_text_says_its_words_or_that_any_text_will_do(room):
    """`Literal["same", "valid"]`, or `Text`, or an entry's name (`Annotated[str, "models"]`)."""
    options = importlib.import_module("cnnjax.config.options")
    functions = (
        sections.entries(room) if room != "options" else {name: getattr(options, name) for name in options.__all__}
    )
    problems = []
    for name, function in functions.items():
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind is parameter.KEYWORD_ONLY and unlimited(parameter.annotation):
                problems.append(f"{name}: {parameter.name} is {parameter.annotation}")
    told(problems)


def test_no_table_names_entries():
    """A new entry needs no line anywhere else: what is true of some entries alone stands in their signatures."""
    problems = []
    for room, path in ((name, path) for name in sections.ROOMS for path in FILES if path.name != "__init__.py"):
        names = set(sections.entries(room))
        for node in tree(path).body:
            value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
            if value is None or "__all__" in ast.unparse(node).partition("=")[0]:
                continue
            said = [each for each in ast.walk(value) if isinstance(each, ast.Tuple | ast.List | ast.Set | ast.Dict)]
            for table in said:
                items = table.keys if isinstance(table, ast.Dict) else table.elts
                if len(names & {item.id for item in items if isinstance(item, ast.Name)}) > 1:
                    problems.append(f"{place(path, node.lineno)} is a table of entries of {room}")
    told(problems)


@pytest.mark.parametrize("name", sections.ROOMS)
def test_every_entry_fills_a_section_from_its_defaults(name):
    for entry in sections.entries(name):
        if name == "augment":
            assert sections.augmentation(train=(entry,)).train == (entry,)
        else:
            assert sections.section(name, entry).name == entry


def test_importing_the_package_costs_nothing_and_does_not_import_jax():
    code = (
        "import sys, time; start = time.perf_counter(); import cnnjax; took = time.perf_counter() - start; "
        "print(took, 'jax' in sys.modules, 'numpy' in sys.modules, cnnjax.__version__)"
    )
    took, jax, numpy, version = min(printed(code).split() for _ in range(3))
    assert float(took) < 0.1
    assert (jax, numpy, version) == ("False", "False", cnnjax.__version__)


def test_rooms_load_on_first_use():
    code = (
        "import sys, cnnjax; assert 'cnnjax.ops' not in sys.modules; cnnjax.ops; assert 'cnnjax.ops' in sys.modules; "
        "assert 'models' in dir(cnnjax)\n"
        "try: cnnjax.modles\nexcept AttributeError as error: print(error)"
    )
    assert "has no attribute 'modles'" in printed(code)


def test_the_command_line_starts_without_jax():
    code = "import sys, cnnjax.programs.train, cnnjax.programs.evaluate; print('jax' in sys.modules)"
    assert printed(code).strip() == "False"
