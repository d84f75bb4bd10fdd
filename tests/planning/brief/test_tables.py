import csv
import io
import json
import zipfile
from datetime import UTC, date, datetime

import numpy as np
import pandas as pd
import pytest

from core import spreadsheet
from core.errors import NotFound
from core.planning.brief.tables import archive, plain, slug, table, table_csv, tables_of
from core.planning.section import Section
from pages.shared import csv_of


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_text_like_a_formula_gets_an_apostrophe(cell):
    rows = list(csv.reader(io.StringIO(spreadsheet.as_csv(["=head"], [[cell], [-1.5], ["a-1"], [None]]))))
    assert rows == [["'=head"], ["'" + cell], ["-1.5"], ["a-1"], [""]]


def test_columns_of_all_rows_in_the_order_they_appear():
    rows = [{"a": 1, "b": 'x,"y"'}, {"a": None, "c": [1, 2]}]
    assert list(csv.reader(io.StringIO(table_csv(rows)))) == [
        ["a", "b", "c"],
        ["1", 'x,"y"', ""],
        ["", "", "[1, 2]"],
    ]
    assert table_csv([]).strip() == ""


def test_values_are_plain():
    values = {
        "nan": float("nan"), "inf": np.inf, "n": np.int64(3), "x": np.float64(0.5), "b": np.bool_(True),
        "day": date(2026, 1, 2), "at": datetime(2026, 1, 2, tzinfo=UTC), "t": (1, 2), 3: None, "o": {4},
    }  # fmt: skip
    found = plain(values)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert (found["nan"], found["n"], found["b"], found["day"], found["t"]) == (
        None,
        3,
        True,
        "2026-01-02",
        [1, 2],
    )


def test_titles_become_addresses():
    assert (
        slug("Cost by phase, €") == "cost-by-phase"
        and slug("Übersicht") == "ubersicht"
        and slug("日本") == "table"
    )
    rows = [{"a": 1}]
    section = Section(
        "team", "Team", "", figures=[("People", "3", "")], tables={"A b": rows, "A-B": [], "Figures": []}
    )
    assert list(tables_of(section)) == ["figures", "a-b", "a-b-2", "figures-2"]
    assert table(section, "a-b") == rows
    with pytest.raises(NotFound, match="Tables: figures, a-b"):
        table(section, "c")


def test_the_zip_holds_every_table(make_brief):
    with zipfile.ZipFile(io.BytesIO(archive(make_brief("=1+1")))) as zipped:
        names = zipped.namelist()
        assert "answers.csv" in names and "roi/cash-flow-1-1.csv" in names and "team/figures.csv" in names
        text = zipped.read("roi/cash-flow-1-1.csv").decode("utf-8-sig")
    assert list(csv.reader(io.StringIO(text))) == [["Month", "Net", "Who"], ["1", "-3.5", "'=1+1"]]


def test_tables_that_pages_give_out_are_safe_too():
    table = pd.DataFrame(
        {"=Prompt": ["=1+1", "plain", None], "Votes": [-1, 2, 3], "Share": [0.5, None, -0.1]}
    )
    assert list(csv.reader(io.StringIO(csv_of(table)))) == [
        ["'=Prompt", "Votes", "Share"],
        ["'=1+1", "-1", "0.5"],
        ["plain", "2", ""],
        ["", "3", "-0.1"],
    ]
