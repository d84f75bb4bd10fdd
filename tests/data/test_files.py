"""Files of every kind become tables; what is wrong with one is said with its line."""

import gzip
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core import data
from core.errors import Invalid
from storage.files import FileProblem, read_table
from tests.conftest import SHARED_DATA

ROWS = [{"input": "first, “quoted”", "reference": "1"}, {"input": 'a "second"\nline', "reference": "0"}]


def parquet(rows):
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), file)
    return file.getvalue()


CSV = 'input,reference\n"first, “quoted”",1\n"a ""second""\nline",0\n'.encode()
FILES = {
    "a.csv": CSV,
    "bom.csv": b"\xef\xbb\xbf" + CSV,
    "crlf.csv": CSV.replace(b"\n", b"\r\n").replace(b'""second""\r\n', b'""second""\n'),
    "utf16.csv": CSV.decode().encode("utf-16"),
    "semicolon.csv": CSV.replace(b"input,reference", b"input;reference").replace(b'",', b'";'),
    "a.tsv": CSV.replace(b"input,reference", b"input\treference").replace(b'",', b'"\t'),
    "a.jsonl": "\n".join(json.dumps(row) for row in ROWS).encode(),
    "lines.json": "\n".join(json.dumps(row) for row in ROWS).encode(),
    "a.json": json.dumps(ROWS, indent=1).encode(),
    "wrapped.json": json.dumps({"version": 1, "rows": ROWS}).encode(),
    "a.parquet": parquet(ROWS),
    "no_suffix": parquet(ROWS),
    "a.jsonl.gz": gzip.compress("\n".join(json.dumps(row) for row in ROWS).encode()),
    "a.csv.gz": gzip.compress(CSV),
}


@pytest.mark.parametrize("name", FILES)
def test_every_kind_of_file_gives_the_same_rows(name):
    table = read_table(name, FILES[name])
    assert table.rows == ROWS and table.columns == ["input", "reference"] and not table.broken


def test_numbers_are_lines_of_the_file_where_it_has_lines():
    assert read_table("a.csv", CSV + b"third,2\n").numbers == [2, 3, 5]
    assert read_table("a.jsonl", b'{"a": 1}\n\n{"a": 2}\n').numbers == [1, 3]
    assert read_table("a.json", b'[{"a": 1}, {"a": 2}]').numbers == [1, 2]


def test_tsv_without_quoting_keeps_its_quotation_marks():
    table = read_table("a.tsv", b"sentence\tlabel\n\"a start that never ends\t1\n`` a quote '' \t0\n")
    assert [row["sentence"] for row in table.rows] == ['"a start that never ends', "`` a quote '' "]


def test_a_broken_line_is_named_and_the_rest_is_read():
    table = read_table("a.jsonl", b'{"a": 1}\n{"a": \n[1]\n{"a": 2}')
    assert [row["a"] for row in table.rows] == [1, 2]
    assert [number for number, _ in table.broken] == [2, 3]
    assert "broken JSON at column" in table.broken[0][1] and "not an object" in table.broken[1][1]
    table = read_table("a.csv", b"a,b\n1,2\n1,2,3\n4\n")
    assert table.broken == [
        (3, "it has 3 columns where the first line has 2"),
        (4, "it has 1 columns where the first line has 2"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"a,b\n", "has no rows"),
        ("a.csv", b"a,b\nx,\xff\n", "line 2 is not UTF-8 (byte 0xff)"),
        ("a.csv", b"a,a\n1,2\n", "two columns are called “a”"),
        ("a.csv", b'a,b\n1,2\n"open,3\n', "line 3: unexpected end of data"),
        ("a.jsonl", b"{,}\n", "line 1: broken JSON"),
        ("a.json", b'[\n {"a": 1},\n {"a" 2}\n]', "line 3: broken JSON at column 7"),
        ("a.json", b"[[1, 2]]", "row 1: it is not an object"),
        ("a.parquet", b"hello", "is not a Parquet file"),
        ("a.parquet", b"PAR1hello", "damaged Parquet"),
        ("a.csv.gz", b"\x1f\x8bhello", "damaged gzip"),
        ("a.xlsx", b"PK\x03\x04hello", "spreadsheet"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(name, content, said):
    with pytest.raises(FileProblem) as problem:
        read_table(name, content)
    assert said in str(problem.value) and problem.value.hint


def test_too_large_is_refused_packed_or_not(settings, monkeypatch):
    monkeypatch.setattr(settings, "max_upload_mb", 1)
    for name, content in {"a.csv": b"a\n" + b"x" * 2**20, "a.csv.gz": gzip.compress(b"x" * 2**21)}.items():
        with pytest.raises(Invalid, match=r"(more|larger) than 1 MB"):
            data.read_upload(name, content)


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="shared/data is not here")
@pytest.mark.parametrize(
    ("name", "columns", "number"),
    [("sst2/train.tsv", ["sentence", "label"], 32), ("agnews/test.tsv", ["sentence", "label"], 7600)],
)
def test_real_tsv_files(name, columns, number):
    table = read_table(name, (SHARED_DATA / name).read_bytes())
    assert (table.columns, len(table.rows), table.broken) == (columns, number, [])
