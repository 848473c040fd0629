"""Write the dashboards: `python -m k8s.dashboards`."""

from pathlib import Path

from k8s.dashboards import plan, receiver

HERE = Path(__file__).parent


def documents() -> dict[str, str]:
    """Return what each file holds."""
    return {f"{receiver.UID}.json": receiver.dashboard()} | {
        f"{uid}.json": text for uid, text in plan.dashboards().items()
    }


if __name__ == "__main__":
    for name, text in documents().items():
        (HERE / name).write_text(text)
