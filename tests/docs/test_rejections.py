"""The table of refused requests, held against the code: each reason, with its statuses."""

import re

from receiver.web import ROUTES
from receiver.web.application import REJECTIONS
from tests.docs.pages import DOCS

# Of a path that there is not, and of what is no HTTP: no route answers these.
BESIDE = {404, 405}


def rows() -> list[tuple[str, list[int]]]:
    """Return each reason of the table with its statuses."""
    section = (DOCS / "reasons.md").read_text().split("<!-- rejections -->\n")[1]
    found = re.findall(r"^\| `(\w+)` \| ([\d, ]+) \| \S.* \|$", section, re.MULTILINE)
    return [(reason, [int(code) for code in codes.split(", ")]) for reason, codes in found]


def test_the_table_has_every_reason_in_order_and_no_other() -> None:
    assert [reason for reason, _ in rows()] == list(REJECTIONS)


def test_every_status_of_the_table_is_one_that_is_answered_and_each_has_its_reason() -> None:
    answered = {code for route in ROUTES for code in route.codes} | BESIDE
    said = {code for _, codes in rows() for code in codes}
    # A 409 has a reason of the decision table.
    assert said == {code for code in answered if code >= 400} - {409}
