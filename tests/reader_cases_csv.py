"""Cases of CSV: quotes, fields, columns, delimiters, encodings."""

from __future__ import annotations

import re

from reader_kit import ENCODING, MALFORMED, NO_TEXT, NOT_TEXT, REFUSED, csv_of, one

ALL_QUOTED = b'"id","text","label"\n"0","bread","good"\n"1","ferry","good"\n"2","boots","good"\n'

CSV = [
    one("byte order mark", "a.csv", b"\xef\xbb\xbf" + csv_of("bread"), "bread"),
    one("crlf", "a.csv", csv_of("bread", '"two\nlines"').replace(b"\n", b"\r\n"), "bread", "two\r\nlines"),
    one(
        "a carriage return in a field without quotes",
        "a.csv",
        csv_of("bread\rand boots", "ferry", '"warm\rnight"'),
        *["bread\rand boots", "ferry", "warm\rnight"],
    ),
    one("carriage returns alone", "a.csv", csv_of("bread", "boots").replace(b"\n", b"\r"), "bread", "boots"),
    one("blank lines", "a.csv", b"\n" + csv_of("bread", "boots").replace(b"\n", b"\n\n"), "bread", "boots"),
    one("blank lines in quotes", "a.csv", csv_of('"two\n\n\nlines"'), "two\n\n\nlines"),
    one("no end of the last line", "a.csv", csv_of("bread").rstrip(b"\n"), "bread"),
    one(
        "line breaks not allowed",
        "a.csv",
        csv_of("bread", '"two\nlines"', "boots"),
        "bread",
        MALFORMED,
        MALFORMED,
        "boots",
        csv={"multiline": False},
    ),
    one("lines, each a record", "a.csv", csv_of("bread", '"a, b"'), "bread", "a, b", csv={"multiline": False}),
    one(
        "semicolon",
        "a.csv",
        b"id;text;label\n1;a,b;good\n2;'c;d';good\n",
        "a,b",
        "c;d",
        csv={"delimiter": ";", "quote": "'", "escape": "'"},
    ),
    one("tab", "a.csv", b"id\ttext\tlabel\n1\ta,b\tgood\n", "a,b", csv={"delimiter": "\\t"}),
    one(
        "backslash before a quote",
        "a.csv",
        csv_of(r'"a \"b\" c"', r'"C:\temp \\ \n"', r"C:\\temp", '"end\\\\"'),
        'a "b" c',
        r"C:\temp \ \n",
        r"C:\\temp",
        "end\\",
        csv={"escape": "\\"},
    ),
    one(
        "backslash and line break",
        "a.csv",
        csv_of('"a\\\nb \\" c"', "boots"),
        'a\\\nb " c',
        "boots",
        csv={"escape": "\\"},
    ),
    one("no quotes at all", "a.csv", csv_of('"bread"', 'a "b'), '"bread"', 'a "b', csv={"quote": "", "escape": ""}),
    one("quotes inside an unquoted field", "a.csv", csv_of('6" nails'), '6" nails'),
    one("text after a closing quote", "a.csv", csv_of('"bread" crumbs', "boots"), MALFORMED, "boots"),
    one("unclosed quote, closed by another row", "a.csv", csv_of('"bread', '"boots"', "a"), MALFORMED, "boots", "a"),
    one("unclosed quote to the end", "a.csv", csv_of("bread", '"boots', "ferry"), "bread", MALFORMED, "ferry"),
    one(
        "no header",
        "a.csv",
        b"1,bread,good\n2,boots,good\n",
        "bread",
        "boots",
        csv={"header": False},
        columns=("_c0", "_c1", "_c2"),
    ),
    one("too few fields", "a.csv", b"id,text,label\n1,bread\n2,boots,good\n", MALFORMED, "boots"),
    one("too many fields", "a.csv", b"id,text,label\n1,bread,good,x\n2,boots,good\n", MALFORMED, "boots"),
    one(
        "wrong encoding", "a.csv", b"id,text,label\n1,caf\xe9 au lait and more,good\n2,boots,good\n", ENCODING, "boots"
    ),
    one("no text", "a.csv", csv_of("", '""', "  ", "boots"), NO_TEXT, NO_TEXT, NO_TEXT, "boots"),
    one("numbers are text", "a.csv", csv_of("12", "1.50", "NA", "null"), "12", "1.50", "NA", "null"),
    one("spaces around a field", "a.csv", csv_of("  bread ", ' "boots"'), "  bread ", ' "boots"'),
    one("unclosed quote in an id", "a.csv", b'id,text,label\n"1,bread,good\n2,boots,good\n', MALFORMED, "boots"),
    one("unclosed quote in the last field", "a.csv", b'id,text,label\n1,bread,"good\n2,a,good\n', MALFORMED, "a"),
    one(
        "unclosed quote, all others quoted",
        "a.csv",
        ALL_QUOTED.replace(b'ferry"', b"ferry"),
        "bread",
        MALFORMED,
        "boots",
    ),
    one("unclosed quote, empty fields below", "a.csv", csv_of('"bread', '""', "a"), MALFORMED, NO_TEXT, "a"),
    one("unclosed quote, a line break first", "a.csv", csv_of('"bread', '"\nboots"', "a"), MALFORMED, "\nboots", "a"),
    one("unclosed quote, a delimiter first", "a.csv", csv_of('"bread', '",boots"', "a"), MALFORMED, ",boots", "a"),
    one("two unclosed quotes", "a.csv", csv_of('"bread', "boots", '"ferry', "a"), MALFORMED, "boots", MALFORMED, "a"),
    one("unclosed quote among faults", "a.csv", csv_of('"bread', "boots,x", "a"), MALFORMED, MALFORMED, "a"),
    one("unclosed quote in crlf", "a.csv", csv_of('"bread', "boots").replace(b"\n", b"\r\n"), MALFORMED, "boots"),
    one(
        "unclosed quote, line breaks not allowed",
        "a.csv",
        csv_of('"bread', '"boots"', "a"),
        MALFORMED,
        "boots",
        "a",
        csv={"multiline": False},
    ),
    one(
        "unclosed quote, backslash before quotes",
        "a.csv",
        csv_of(r'"bread \"', r'"boots \""', "a"),
        MALFORMED,
        'boots "',
        "a",
        csv={"escape": "\\"},
    ),
    one(
        "unclosed quote, no quotes in fields",
        "a.csv",
        csv_of('"bread', '"boots"', "a"),
        MALFORMED,
        "boots",
        "a",
        csv={"escape": ""},
    ),
    one(
        "quotes that are not doubled, in several lines",
        "a.csv",
        csv_of('"dear team\nthe "best", warm, bread\nbye"', "boots"),
        *[MALFORMED] * 3,
        "boots",
    ),
    one("several lines and too many fields", "a.csv", csv_of('"two\nlines",x', "boots"), MALFORMED, "boots"),
    one("no quotes at all, one key", "a.csv", csv_of('6" nails', '"a"'), '6" nails', '"a"', csv={"quote": ""}),
    one("an index without a name", "a.csv", b",id,text,label\n0,1,bread,good\n1,2,boots,good\n", "bread", "boots"),
    one("a trailing comma", "a.csv", b"id,text,label,\n1,bread,good,\n2,boots,good,\n", "bread", "boots"),
    one("names twice that nobody asked for", "a.csv", b"n,id,n,,text,label,\n7,1,8,,bread,good,\n", "bread"),
    one("other bytes that nobody asked for", "a.csv", b"id,text,n\xe9,label\n1,bread,caf\xe9,good\n", "bread"),
    one("latin-1", "a.csv", csv_of("caf\u00e9").decode().encode("latin-1"), "caf\u00e9", encoding="latin-1"),
    one(
        "cp1252 with bytes that it lacks",
        "a.csv",
        csv_of("\u20ac 5", "boots x").replace("\u20ac".encode(), b"\x80").replace(b" x", b" \x81"),
        *["\u20ac 5", ENCODING],
        encoding="cp1252",
    ),
    one("NUL", "a.csv", csv_of("bread\x00", "boots"), NOT_TEXT, "boots"),
    *[
        one(f"{name} without the setting", "a.csv", csv_of("bread").decode().encode(name), REFUSED, says="UTF-16")
        for name in ("utf-16", "utf-16-le", "utf-16-be")
    ],
    one("gzip without the name", "a.csv", b"\x1f\x8b\x08\x00abcd", REFUSED, says=r"let its name end in \.gz"),
    *[
        one(
            f"fields separated by {name}",
            "a.csv",
            csv_of('"bread"', "boots").replace(b"id,text,label", head).replace(b",", delimiter),
            REFUSED,
            says=re.escape(f"csv.delimiter={shown}"),
        )
        for name, delimiter, shown in (("semicolons", b";", ";"), ("tabs", b"\t", r"\t"), ("bars", b"|", "|"))
        for head in (b"id,text,label", b'"id","text","label"')
    ],
]
