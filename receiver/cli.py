"""The command line: serve, check, explain, demo."""

import argparse
import asyncio
import sys
from pathlib import Path

from receiver import __version__, app
from receiver import alerts as al
from receiver.config import Problem, Secrets, Settings, read
from receiver.controller.answers import Sender
from receiver.errors import ReceiverError

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
    for command in (serve, check, explain):
        command.add_argument("--config", type=Path, required=True, metavar="FILE")
        command.add_argument(
            "--insecure", action="store_true", help="let anybody post alerts when no auth is set"
        )
    serve.add_argument("--debug", action="store_true", help="log more")

    demo = commands.add_parser("demo", help="see it work, start to end, on this machine")
    demo.add_argument("--hold", action="store_true", help="stay up afterwards, until Ctrl-C")
    demo.add_argument(
        "--captured", action="store_true", help="play captured webhooks, even with the real pair"
    )
    demo.set_defaults(run=_demo)
    return parser


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
    parts = await app.build(settings, app.system_world("error"), insecure=True)
    try:
        sender = Sender(name="explain")
        answers = await parts.controller.receive(payload, sender, dry_run=True)
    finally:
        await parts.sinks.close()
        await parts.cluster.aclose()
    for answer in answers:
        target = f"{answer.namespace}/{answer.deployment}".strip("/") or "no target"
        print(f"{answer.alertname} ({answer.fingerprint}), {target}:")
        print(f"  {answer.action}: {answer.reason}. {answer.text}")
    return 0


def _demo(options: argparse.Namespace) -> int:
    from receiver import demo  # noqa: PLC0415 - it brings the sandbox, which a service never needs

    return asyncio.run(demo.run(hold=options.hold, captured=options.captured))
