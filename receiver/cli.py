"""The command line: serve, check, explain, scorecard, state, test-notify, rules, demo."""

import argparse
import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from receiver import __version__, app
from receiver import alerts as al
from receiver.config import Problem, Secrets, Settings, read
from receiver.controller.answers import Sender
from receiver.controller.trial import try_sinks
from receiver.errors import ReceiverError
from receiver.rules import build as build_rules
from receiver.rules import lint as lint_rules
from receiver.rules import parse as parse_conditions

FAILED, USAGE = 1, 2


def main(arguments: list[str] | None = None) -> None:
    """Run one command and exit: 0 well, 1 failed, 2 wrong usage or configuration."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except ReceiverError as error:
        print(f"rollback-receiver: {error}", file=sys.stderr)
        code = FAILED
    except KeyboardInterrupt:
        code = 130
    raise SystemExit(code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rollback-receiver", description="Undo a bad Kubernetes release when an alert says so."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="run the service")
    serve.set_defaults(run=_serve)
    check = commands.add_parser("check", help="check a configuration without starting")
    check.set_defaults(run=_check)
    explain = commands.add_parser(
        "explain", help="say what would be decided about the alerts of a webhook, and why"
    )
    explain.add_argument("alerts", help="file with the body of a webhook; - is standard input")
    explain.set_defaults(run=_explain)
    scorecard = commands.add_parser(
        "scorecard", help="say what shadow mode would have done, for each alert"
    )
    scorecard.set_defaults(run=_scorecard)
    state = commands.add_parser("state", help="show or export what is remembered of the targets")
    state.add_argument("verb", choices=("show", "export"), help="for reading, or as it is stored")
    state.add_argument(
        "target", nargs="?", metavar="NAMESPACE/NAME", help="one Deployment; none: everything"
    )
    state.set_defaults(run=_state)
    trial = commands.add_parser(
        "test-notify", help="send a test message, and say what each sink answered"
    )
    trial.add_argument(
        "--sink", action="append", metavar="NAME", help="only this one; may be given several times"
    )
    trial.set_defaults(run=_test_notify)
    for command in (serve, check, explain, scorecard, state, trial):
        command.add_argument("--config", type=Path, required=True, metavar="FILE")
        command.add_argument(
            "--insecure", action="store_true", help="let anybody post alerts when no auth is set"
        )
    serve.add_argument("--debug", action="store_true", help="log more")

    rules = commands.add_parser("rules", help="make and judge rules that ask for rollbacks")
    _rules_commands(rules.add_subparsers(required=True, metavar="COMMAND"))

    demo = commands.add_parser("demo", help="see it work, start to end, on this machine")
    demo.add_argument("--hold", action="store_true", help="stay up afterwards, until Ctrl-C")
    demo.add_argument(
        "--captured", action="store_true", help="play captured webhooks, even with the real pair"
    )
    demo.set_defaults(run=_demo)
    return parser


def _rules_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    build = commands.add_parser(
        "build", help="make a PrometheusRule of the conditions of a rollout plan"
    )
    build.add_argument("conditions", type=Path, metavar="CONDITIONS")
    build.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="write it there, not to standard output"
    )
    build.set_defaults(run=_rules_build)
    lint = commands.add_parser(
        "lint",
        help="say what makes rules, or a configuration of Alertmanager, unsafe; 1: something",
    )
    lint.add_argument("files", type=Path, nargs="+", metavar="FILE")
    lint.add_argument("--format", choices=("text", "json"), default="text")
    lint.set_defaults(run=_rules_lint)


def _settings(options: argparse.Namespace) -> Settings | None:
    found = read(options.config, insecure=options.insecure)
    if isinstance(found, Settings):
        return found
    _complain(options.config, found)
    return None


def _complain(path: Path, problems: list[Problem]) -> None:
    print(f"{path}: {len(problems)} problem{'s' * (len(problems) != 1)}", file=sys.stderr)
    for problem in problems:
        print(f"  {problem}", file=sys.stderr)


def _serve(options: argparse.Namespace) -> int:
    settings = _settings(options)
    if settings is None:
        return USAGE
    world = app.system_world("debug" if options.debug else "info", Secrets(settings))
    asyncio.run(app.serve(settings, world, insecure=options.insecure))
    return 0


def _check(options: argparse.Namespace) -> int:
    settings = _settings(options)
    if settings is None:
        return USAGE
    sinks = ", ".join(settings.notify.sinks) or "nobody"
    print(f"{options.config}: well; mode {settings.policy.mode}, tells {sinks}")
    return 0


def _explain(options: argparse.Namespace) -> int:
    settings = _settings(options)
    if settings is None:
        return USAGE
    try:
        body = (
            sys.stdin.buffer.read() if options.alerts == "-" else Path(options.alerts).read_bytes()
        )
    except OSError as error:
        print(f"{options.alerts}: {type(error).__name__}", file=sys.stderr)
        return USAGE
    return asyncio.run(_explained(settings, body))


async def _explained(settings: Settings, body: bytes) -> int:
    payload = al.parse(body)
    async with _parts(settings) as parts:
        sender = Sender(name="explain")
        answers = await parts.controller.receive(payload, sender, dry_run=True)
    for answer in answers:
        target = f"{answer.namespace}/{answer.deployment}".strip("/") or "no target"
        print(f"{answer.alertname} ({answer.fingerprint}), {target}:")
        print(f"  {answer.action}: {answer.reason}. {answer.text}")
    return 0


def _scorecard(options: argparse.Namespace) -> int:
    settings = _settings(options)
    return USAGE if settings is None else asyncio.run(_scored(settings))


async def _scored(settings: Settings) -> int:
    async with _parts(settings) as parts:
        rules = await parts.controller.scorecard(())
    if not rules:
        print("Shadow mode has held nothing back yet.")
    for row in rules:
        saved = row["median_minutes_saved"]
        print(f"{row['alertname']}: would have rolled back {row['would_have_rolled_back']} time(s)")
        print(f"  {row['undone_by_people']} were rolled back by people anyway", end="")
        print(f", {saved} minutes later in the median" if saved is not None else "")
        print(f"  {row['resolved_soon']} resolved by themselves within 15 minutes", end="")
        print(f", {row['resolved_later']} later, {row['still_firing']} still fire")
        print(f"  {', '.join(row['deployments'])}")
    return 0


def _state(options: argparse.Namespace) -> int:
    settings = _settings(options)
    if settings is None:
        return USAGE
    if options.target is not None and options.target.count("/") != 1:
        print(f"{options.target}: is not NAMESPACE/NAME", file=sys.stderr)
        return USAGE
    return asyncio.run(_shown(settings, options.target, export=options.verb == "export"))


async def _shown(settings: Settings, target: str | None, *, export: bool) -> int:
    async with _parts(settings) as parts:
        states = await parts.controller.states(target)
    if not states:
        print(f"nothing is remembered{f' of {target}' if target else ''}", file=sys.stderr)
        return FAILED
    if export:
        print(json.dumps(states, indent=2, ensure_ascii=False))
        return 0
    for name, text in states.items():
        print(name)
        try:
            print(json.dumps(json.loads(text), indent=2, ensure_ascii=False))
        except ValueError:
            print(f"  damaged: {text[:2000]}")
    return 0


def _test_notify(options: argparse.Namespace) -> int:
    settings = _settings(options)
    if settings is None:
        return USAGE
    known = list(settings.notify.sinks)
    wanted = list(dict.fromkeys(options.sink or known))
    for name in wanted:
        if name not in known:
            print(f"{name}: no such sink; there are: {', '.join(known)}", file=sys.stderr)
            return USAGE
    if not wanted:
        print("no sinks are configured: nobody would be told anything", file=sys.stderr)
        return FAILED
    return asyncio.run(_tried(settings, wanted))


async def _tried(settings: Settings, wanted: list[str]) -> int:
    world = app.system_world("error", Secrets(settings))
    sinks = app.sinks_alone(settings, world.clock)
    try:
        found = await try_sinks(
            sinks, world.clock, wanted, cluster=settings.cluster.name, id_=world.ids()
        )
    finally:
        await sinks.close()
    for one in found:
        detail = f", {one.receipt.detail}" if one.receipt.detail else ""
        left = "; what the test opened there is NOT closed" if one.closed is False else ""
        said = one.receipt.delivery.value.replace("_", " ")
        print(f"{one.sink}: {said} in {one.seconds * 1000:.0f} ms{detail}{left}")
    return 0 if all(one.well for one in found) else FAILED


@contextlib.asynccontextmanager
async def _parts(settings: Settings) -> AsyncIterator[app.Parts]:
    """Put a replica together without starting it: to ask it one thing."""
    parts = await app.build(settings, app.system_world("error"), insecure=True)
    try:
        yield parts
    finally:
        await parts.close()


LARGEST_RULES = 4 * 2**20


def _text_of(path: Path) -> str:
    """Read a file; raises `ValueError` with a sentence about it."""
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST_RULES + 1)
        if len(raw) <= LARGEST_RULES:
            return raw.decode()
    except OSError as error:
        raise ValueError(f"cannot be read ({type(error).__name__})") from None
    except UnicodeDecodeError:
        raise ValueError("is no UTF-8 text") from None
    raise ValueError("is larger than 4MiB")


def _rules_build(options: argparse.Namespace) -> int:
    path, output = options.conditions, options.output
    try:
        found = parse_conditions(_text_of(path))
    except ValueError as error:
        found = [Problem(path="", text=str(error))]
    if isinstance(found, list):
        _complain(path, found)
        return USAGE
    made = build_rules(found, path.as_posix(), "" if output is None else output.as_posix())
    if output is None:
        print(made, end="")
        return 0
    try:
        output.write_text(made)
    except OSError as error:
        _complain(output, [Problem(path="", text=f"cannot be written ({type(error).__name__})")])
        return FAILED
    return 0


def _rules_lint(options: argparse.Namespace) -> int:
    texts: dict[str, str] = {}
    unread: list[tuple[str, Problem]] = []
    for path in options.files:
        try:
            texts[path.as_posix()] = _text_of(path)
        except ValueError as error:
            unread.append((path.as_posix(), Problem(path="", text=str(error))))
    report = lint_rules(texts, unread)
    if options.format == "json":
        print(json.dumps(report.json(), indent=2, ensure_ascii=False))
    else:
        print(report.text())
    if report.unreadable:
        return USAGE
    return FAILED if report.findings else 0


def _demo(options: argparse.Namespace) -> int:
    from receiver import demo  # noqa: PLC0415 - it brings the sandbox, which a service never needs

    return asyncio.run(demo.run(hold=options.hold, captured=options.captured))
