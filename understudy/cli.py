"""`understudy VERB`: finds the verb, fills its Config from the command line and calls it.

Nothing heavy is imported before the verb is known, so that `understudy --help` answers at once.
"""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from understudy import __version__
from understudy.errors import UserError, suggestion

INTERRUPTED = 130  # what shells expect of a program that Ctrl-C ended
UNHEARD = 141  # and of one whose reader has gone, as in `understudy runs | head`
SPINS = "10000"
"""Looks of libgomp's threads at their next work before they sleep: some tenths of a millisecond. By default they keep
the processors, which the decode step's threads want, for milliseconds after each of torch's operations."""


def _recipe(name: str, verb: str) -> Callable[[list[str]], None]:
    def run(argv: list[str]) -> None:
        from importlib import import_module

        from understudy.config import parse, read_config
        from understudy.runs.code import opened_files

        opened_files.begin()
        recipe = import_module(f"understudy.recipes.{name}")
        if argv[:1] == ["--config"]:
            config = read_config(recipe.Config, argv[1:], f"understudy {verb}")
        else:
            default = recipe.defaults(argv) if hasattr(recipe, "defaults") else None
            config = parse(recipe.Config, argv, f"understudy {verb}", default)
        from understudy.recipes.launch import launch

        launch(verb, recipe.main, config, argv)

    return run


def _chat(argv: list[str]) -> None:
    from rich.console import Console

    from understudy.config import parse
    from understudy.recipes import builtin
    from understudy.serving import terminal
    from understudy.training.checkpoint import locate

    config = parse(terminal.Config, argv, "understudy chat")
    config.sampling.checked()
    folder = builtin.ready() if config.run == builtin.NAME else locate(config.run)
    terminal.main(config, folder, Console())


def _sample(argv: list[str]) -> None:
    from rich.console import Console

    from understudy.config import parse
    from understudy.serving import sample

    sample.main(parse(sample.Config, argv, "understudy sample"), Console())


def _export_model(argv: list[str]) -> None:
    from rich.console import Console

    from understudy.config import parse
    from understudy.recipes import export_model

    export_model.main(parse(export_model.Config, argv, "understudy export-model"), Console())


def _doctor(argv: list[str]) -> int:
    from rich.console import Console

    from understudy.config import parse
    from understudy.recipes import doctor

    return doctor.main(parse(doctor.Config, argv, "understudy doctor"), Console())


def _import_chats(argv: list[str]) -> None:
    from rich.console import Console

    from understudy.config import parse
    from understudy.recipes import import_chats

    import_chats.main(parse(import_chats.Config, argv, "understudy import-chats"), Console())


def _runs(argv: list[str]) -> int:
    from rich.console import Console

    from understudy.runs import commands as dispatch

    return dispatch.main(argv, Console())


@dataclass(frozen=True)
class Verb:
    """A verb of the command line."""

    meaning: str
    run: Callable[[list[str]], int | None]
    """Takes the command line after the verb; returns the exit code, None for 0."""


VERBS = {
    "pretrain": Verb(
        "train a language model from scratch, on conversations or plain text", _recipe("pretrain", "pretrain")
    ),
    "finetune": Verb("go on training a model on conversations", _recipe("finetune", "finetune")),
    "chat": Verb("talk with a trained model in the terminal", _chat),
    "sample": Verb("print replies to one prompt", _sample),
    "eval": Verb("measure a trained model: bits a byte, perplexity, what it remembers", _recipe("evaluate", "eval")),
    "import-chats": Verb("make conversations to fine-tune on out of exported chats", _import_chats),
    "export-model": Verb("save a model for Hugging Face transformers", _export_model),
    "doctor": Verb("look for silent bugs in a training run or a configuration", _doctor),
    "runs": Verb("list, show, compare, rerun, verify and keep what was run", _runs),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code: 0 done, 2 a user's mistake, 130 interrupted, 141 nobody reads on."""
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)  # read when torch is loaded
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        code = _dispatch(arguments)
        sys.stdout.flush()
        return code
    except UserError as error:
        if debug:
            raise
        _complain(str(error))
        return 2
    except KeyboardInterrupt:
        if debug:
            raise
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at its end
        return UNHEARD


def _dispatch(arguments: list[str]) -> int:
    verb = arguments[0] if arguments else "--help"
    if verb in ("-h", "--help", "help"):
        print(_help())
    elif verb == "--version":
        print(f"understudy {__version__}")
    elif verb in VERBS:
        return VERBS[verb].run(arguments[1:]) or 0
    else:
        raise UserError(f"unknown verb {verb}{suggestion(verb, VERBS) or '; understudy --help lists them'}")
    return 0


def _help() -> str:
    lines = ["usage: understudy VERB [OPTIONS]", "", "Learns a part by watching people, then rehearses it.", ""]
    lines += [f"  {name:<14}{verb.meaning}" for name, verb in VERBS.items()]
    lines += ["", "  understudy VERB --help   lists a verb's options with their defaults"]
    lines += [
        "  --debug                  shows the traceback behind an error",
        "  --version                prints the version",
    ]
    return "\n".join(lines)


def _complain(text: str) -> None:
    """One red line on standard error."""
    line = " ".join(text.split())
    print(f"\x1b[31m{line}\x1b[0m" if sys.stderr.isatty() else line, file=sys.stderr)
