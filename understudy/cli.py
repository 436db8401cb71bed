"""`understudy VERB`: finds the verb, fills its options from the command line and calls it.

A verb is a function of one of three shapes, told apart by the names of its parameters:

    main(config: Config, run: Run, dist: DistInfo)    recorded as a run, with --config FILE to read the options from
    main(config: Config, console: Console)            returns the exit code, or None for 0
    main(argv: Sequence[str], console: Console)       reads its command line by itself

`Config` is a dataclass whose docstring is the verb's help. Nothing heavy is imported before the verb is known, so that
`understudy --help` answers at once.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module

from understudy import __version__
from understudy.errors import UserError, suggestion

INTERRUPTED = 130  # what shells expect of a program that Ctrl-C ended
UNHEARD = 141  # and of one whose reader has gone, as in `understudy runs | head`
SPINS = "10000"
"""Looks of libgomp's threads at their next work before they sleep: some tenths of a millisecond. By default they keep
the processors, which the decode step's threads want, for milliseconds after each of torch's operations."""


@dataclass(frozen=True)
class Verb:
    """A verb: its function, named from `understudy` on, and a line of help."""

    function: str
    meaning: str
    preset: str = ""
    """A function that returns the defaults of the options, given the few options that they depend on."""


VERBS = {
    "pretrain": Verb("recipes.pretrain.main", "train a language model from scratch, on conversations or plain text"),
    "finetune": Verb("recipes.finetune.main", "continue training a model on conversations", "recipes.finetune.preset"),
    "clone": Verb("recipes.clone.main", "learn to play from recorded games", "recipes.clone.preset"),
    "selfplay": Verb("recipes.selfplay.main", "improve a player by playing against and beside itself"),
    "league": Verb("recipes.league.main", "see who beats whom in a self-play run"),
    "chat": Verb("serving.terminal.main", "talk with a trained model in the terminal"),
    "serve": Verb("serving.serve.main", "serve trained models: an API as OpenAI's, and a page to chat with them"),
    "sample": Verb("serving.sample.main", "print replies to one prompt"),
    "eval": Verb("recipes.evaluate.main", "measure a trained model: bits per byte, perplexity, what it remembers"),
    "import-chats": Verb("recipes.import_chats.main", "turn exported chats into conversations for fine-tuning"),
    "play": Verb("serving.play.play.main", "play a game in the browser or terminal, and record it"),
    "watch": Verb("serving.play.watch.main", "watch recorded games, or a trained player"),
    "demos": Verb("games.demos.main", "list, show and check recorded games"),
    "export-model": Verb("recipes.export_model.main", "save a model for Hugging Face transformers"),
    "doctor": Verb("recipes.doctor.main", "look for silent bugs in a training run or a configuration"),
    "runs": Verb("runs.commands.main", "list, show, compare, rerun, verify and keep what was run"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit code: 0 done, 2 a user's mistake, 130 interrupted, 141 reader gone."""
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)  # read when torch is loaded
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        verb = arguments[0] if arguments else "--help"
        code = 0
        if verb in ("-h", "--help", "help"):
            print(_help())
        elif verb == "--version":
            print(f"understudy {__version__}")
        elif verb in VERBS:
            code = _run(verb, arguments[1:])
        else:
            raise UserError(f"unknown verb {verb}{suggestion(verb, VERBS) or '; understudy --help lists them'}")
        sys.stdout.flush()
        return code
    except (UserError, KeyboardInterrupt) as error:
        if debug:
            raise
        if isinstance(error, KeyboardInterrupt):
            return INTERRUPTED
        line = " ".join(str(error).split())
        print(f"\x1b[31m{line}\x1b[0m" if sys.stderr.isatty() else line, file=sys.stderr)
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at its end
        return UNHEARD


def _run(name: str, arguments: list[str]) -> int:
    """Call a verb with its options from the command line, and return the exit code."""
    from typing import get_type_hints

    from rich.console import Console

    from understudy.config import parse, read_config

    verb, prog = VERBS[name], f"understudy {name}"
    function = _load(verb.function)
    takes = get_type_hints(function)
    if "argv" in takes:
        return function(arguments, Console()) or 0

    # The options.
    kind, is_recorded = takes["config"], "run" in takes
    if is_recorded and arguments[:1] == ["--config"]:
        config = read_config(kind, arguments[1:], prog)
    elif verb.preset:
        preset = _load(verb.preset)
        basis = parse(get_type_hints(preset)["basis"], arguments, prog, partial=True)
        config = parse(kind, arguments, prog, default=preset(basis))
    else:
        config = parse(kind, arguments, prog)

    if is_recorded:
        from understudy.recipes.launch import launch

        launch(name, function, config, arguments)
        return 0

    # Chat and serve are siblings of the recipes, so here is where they get the built-in model, which chat trains when
    # it is first needed.
    if name == "chat":
        from understudy.recipes import builtin

        config.sampling.checked()  # before minutes of training
        if config.run == builtin.NAME:
            config = replace(config, run=str(builtin.ready(Console())))
    if name == "serve":
        from understudy.recipes import builtin

        named = config.run or (builtin.NAME,)
        config = replace(config, run=tuple(str(builtin.trained()) if run == builtin.NAME else run for run in named))
    return function(config, Console()) or 0


def _load(name: str):  # type: ignore[no-untyped-def]  # importing `typing` for it would slow the help by a tenth
    module, _, attribute = name.rpartition(".")
    return getattr(import_module(f"understudy.{module}"), attribute)


def _help() -> str:
    lines = ["usage: understudy VERB [OPTIONS]", "", "Learns a part by watching people, then rehearses it.", ""]
    lines += [f"  {name:<14}{verb.meaning}" for name, verb in VERBS.items()]
    lines += ["", "  understudy VERB --help   lists a verb's options with their defaults"]
    lines += ["  --debug                  shows the traceback behind an error"]
    lines += ["  --version                prints the version"]
    return "\n".join(lines)
