//! Formats take files apart alike from any record on, whatever they hold.

use engine::Domain;
use serde_json::json;

use super::*;

const UBL: &[u8] = include_bytes!("../../../../docs/examples/orders-from-ubl/in/order.xml");
const CXML: &[u8] = include_bytes!("../../../../docs/examples/orders-from-cxml/in/order.xml");
const EDIFACT: &[u8] =
    include_bytes!("../../../../docs/examples/orders-from-edifact/in/orders.edi");
const X12: &[u8] = include_bytes!("../../../../docs/examples/orders-from-x12/in/850.x12");
const CSV: &[u8] = include_bytes!("../../../../docs/examples/orders-from-csv/in/orders.csv");

fn format(format: serde_json::Value) -> Format {
    serde_json::from_value(format).unwrap()
}

fn input(bytes: &[u8]) -> Arc<Input> {
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, bytes).unwrap();
    Arc::new(Input { file, size: bytes.len() as u64 })
}

fn reading(what: serde_json::Value, encoding: Option<&str>, largest: usize) -> Reading {
    let encoding = encoding.map(|label| Encoding::for_label(label.as_bytes()).unwrap());
    Reading { format: format(what), encoding, largest }
}

fn all(reading: &Reading, bytes: &[u8]) -> Vec<Found> {
    from(reading, &input(bytes), Position::default())
}

fn from(reading: &Reading, input: &Arc<Input>, at: Position) -> Vec<Found> {
    let mut records = reading.open(input, at).unwrap();
    let mut found = Vec::new();
    while let Some(one) = records.next().unwrap() {
        found.push(one);
        assert!(found.len() < 100_000, "it has no end");
    }
    found
}

fn value(found: &Found) -> Value {
    match found.record.as_ref().unwrap() {
        Record::Texts(value) => value.clone(),
        Record::Json(json) => schemas::json::read_plain(json).unwrap(),
    }
}

/// What lies at a path of VRL.
fn at(found: &Found, path: &str) -> String {
    let path = vrl::path::parse_value_path(path).unwrap();
    value(found)
        .get(&path)
        .map_or("nothing".to_owned(), |value| value.to_string_lossy().into_owned())
}

fn causes(found: &[Found]) -> Vec<&'static str> {
    found.iter().map(|one| one.record.as_ref().map_or_else(|fault| fault.cause, |_| "")).collect()
}

fn every_format() -> Vec<(Reading, Vec<u8>)> {
    let lines = b"\xef\xbb\xbf{\"a\":1}\n\n{\"a\":\n{\"a\":\"\xc3\xa9\"}\r\n{\"a\":3}".to_vec();
    let xml = b"<?xml version='1.0' encoding='ISO-8859-15'?>\n<r><o><a>\xa4\xe9</a></o>\n<o><a>&x;</a></o><n><o/></n><o/>\n</r>".to_vec();
    let columns =
        json!({ "code": { "start": 1, "length": 5 }, "name": { "start": 6, "length": 4 } });
    vec![
        (reading(json!({ "csv": { "delimiter": ";" } }), Some("cp1252"), 4096), CSV.to_vec()),
        (reading(json!("json_lines"), None, 4096), lines),
        (
            reading(json!({ "fixed_width": { "columns": columns } }), None, 4096),
            "00123 Zoé \n00124\n\nx\n".into(),
        ),
        (reading(json!({ "xml": { "record": "/r/o" } }), None, 4096), xml),
        (reading(json!({ "edifact": {} }), None, 4096), EDIFACT.to_vec()),
        (reading(json!({ "x12": {} }), None, 4096), X12.to_vec()),
    ]
}

#[test]
fn a_file_goes_on_at_any_record_as_if_nothing_had_been() {
    for (reading, bytes) in every_format() {
        let input = input(&bytes);
        let whole = from(&reading, &input, Position::default());
        assert!(!whole.is_empty());
        for (index, one) in whole.iter().enumerate() {
            assert_eq!(one.row, index as u64 + 1, "{:?}", reading.format);
            let rest = from(&reading, &input, one.after);
            assert_eq!(
                format!("{rest:?}"),
                format!("{:?}", &whole[index + 1..].iter().collect::<Vec<_>>()),
                "{:?} from {:?}",
                reading.format,
                one.after
            );
        }
    }
}

#[test]
fn a_file_cut_anywhere_or_of_any_bytes_is_read_to_its_end_without_a_panic() {
    for (reading, bytes) in every_format() {
        for length in 0..bytes.len() {
            let input = input(&bytes[..length]);
            let Ok(mut records) = reading.open(&input, Position::default()) else { continue };
            let mut before = 0;
            while let Some(found) = records.next().unwrap() {
                assert!(found.bytes.start <= found.bytes.end, "{found:?}");
                assert!(found.bytes.end <= length as u64 && found.row > before, "{found:?}");
                before = found.row;
            }
        }
        let mut seed = 7_u64;
        for _ in 0..200 {
            let mut broken = bytes.clone();
            for _ in 0..3 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let place = usize::try_from(seed >> 33).unwrap() % broken.len();
                broken[place] = u8::try_from(seed >> 56).unwrap();
            }
            if reading.open(&input(&broken), Position::default()).is_ok() {
                all(&reading, &broken);
            }
        }
    }
}

#[test]
fn a_file_that_becomes_shorter_is_named_and_gives_no_half_record() {
    for (reading, bytes) in every_format() {
        let file = input(&bytes);
        file.file.set_len(bytes.len() as u64 - 9).unwrap();
        let fault = match reading.open(&file, Position::default()) {
            Err(fault) => fault,
            Ok(mut records) => loop {
                match records.next() {
                    Err(fault) => break fault,
                    Ok(found) => assert!(found.is_some(), "it ends as if it were whole"),
                }
            },
        };
        assert_eq!((fault.cause, fault.domain), ("file_changed", Domain::Remote));
    }
}

#[test]
fn rows_of_csv_are_what_a_spreadsheet_wrote() {
    let reading = reading(json!({ "csv": { "delimiter": ";" } }), Some("CP1252"), 4096);
    let rows = all(&reading, CSV);
    assert_eq!(causes(&rows), ["", "", ""]);
    assert_eq!(at(&rows[0], ".\"N°\""), "00123");
    assert_eq!(at(&rows[0], ".Montant"), "1 234,56");
    assert_eq!(at(&rows[0], ".\"Libellé\""), "Café € \"fin\";\r\ndeux lignes");
    assert_eq!(at(&rows[1], ".\"Libellé\""), "Œuvre");
    assert_eq!(at(&rows[2], ".\"Libellé\""), "5\" tube");
    assert_eq!(at(&rows[2], ".Note"), "a;b");
    assert_eq!(rows.iter().map(|row| row.line).collect::<Vec<_>>(), [2, 4, 5]);
}

#[test]
fn bad_rows_of_csv_are_told_apart_from_the_good_ones() {
    let text = "a,b\n1,2\n3\n4,5,6\n\"x\"y,1\n7,\"open\n8,9\n\n10,11";
    let strict = reading(json!({ "csv": {} }), None, 4096);
    let rows = all(&strict, text.as_bytes());
    assert_eq!(
        causes(&rows),
        ["", "ragged_row", "ragged_row", "quote_misplaced", "quote_unclosed", "", ""]
    );
    assert_eq!(rows[4].bytes, 23..31, "only the line of the quote");
    let padded = reading(json!({ "csv": { "ragged": "pad" } }), None, 4096);
    assert_eq!(causes(&all(&padded, b"a,b\n1\n1,2,,\n1,2,3\n")), ["", "", "ragged_row"]);
    let named = reading(json!({ "csv": { "columns": ["a", "a", ""], "skip": 1 } }), None, 4096);
    assert_eq!(at(&all(&named, b"title\n1,2,3\n")[0], ".a"), "1");
    let utf8 = reading(json!({ "csv": {} }), None, 4096);
    assert_eq!(causes(&all(&utf8, b"\xef\xbb\xbfa\n\xe9\nz\n")), ["not_in_encoding", ""]);
    assert_eq!(at(&all(&utf8, b"\xef\xbb\xbfa\nz\n")[0], ".a"), "z");
    assert!(
        utf8.open(&input(b"\xff\xfea\0\n\0"), Position::default())
            .is_err_and(|fault| fault.cause == "utf_16")
    );
}

#[test]
fn a_record_that_is_too_large_is_passed_over_in_bounded_memory() {
    let long = "x".repeat(5_000);
    let csv = reading(json!({ "csv": {} }), None, 1_024);
    let text = format!("a,b\n1,2\n{long},2\n\"{long}\",3\n5,6\n");
    assert_eq!(
        causes(&all(&csv, text.as_bytes())),
        ["", "record_too_large", "record_too_large", ""]
    );
    let lines = reading(json!("json_lines"), None, 1_024);
    let text = format!("1\n\"{long}\"\n3\n");
    assert_eq!(causes(&all(&lines, text.as_bytes())), ["", "record_too_large", ""]);
    let xml = reading(json!({ "xml": { "record": "/r/o" } }), None, 1_024);
    let many = "<a>1</a>".repeat(400);
    let text = format!("<r><o>1</o><o>{many}</o><o>3</o></r>");
    assert_eq!(causes(&all(&xml, text.as_bytes())), ["", "record_too_large", ""]);
    let text = format!("<r><o>1</o><o>{long}</o><o>3</o></r>");
    assert_eq!(
        causes(&all(&xml, text.as_bytes())),
        ["", "record_too_large"],
        "one text without an end"
    );
    let edifact = reading(json!({ "edifact": {} }), None, 1_024);
    let many = "FTX+AAI'".repeat(400);
    let text = format!(
        "UNB+UNOA:1+A+B+1+9'UNH+1+ORDERS:D'{many}UNT+402+1'UNH+2+ORDERS:D'UNT+2+2'UNZ+2+9'"
    );
    assert_eq!(causes(&all(&edifact, text.as_bytes())), ["record_too_large", ""]);
}

#[test]
fn an_order_of_ubl_keeps_every_id_amount_and_line() {
    let reading =
        reading(json!({ "xml": { "record": "/Order", "lists": ["OrderLine"] } }), None, 1 << 16);
    let found = all(&reading, UBL);
    assert_eq!(causes(&found), [""]);
    let order = &found[0];
    assert_eq!(at(order, ".ID"), "AEG012345");
    assert_eq!(at(order, ".Note"), "Deliver <before> noon & ring twice");
    assert_eq!(at(order, ".BuyerCustomerParty.Party.PartyName.Name"), "Müller & Söhne");
    assert_eq!(at(order, ".BuyerCustomerParty.Party.PostalAddress.PostalZone"), "01067");
    assert_eq!(at(order, ".AnticipatedMonetaryTotal.PayableAmount.\"#text\""), "1234.56");
    assert_eq!(at(order, ".AnticipatedMonetaryTotal.PayableAmount.\"@currencyID\""), "EUR");
    assert_eq!(at(order, ".OrderLine[0].LineItem.Quantity.\"#text\""), "100.5000");
    assert_eq!(at(order, ".OrderLine[0].LineItem.Item.SellersItemIdentification.ID"), "000017589");
    let cbc = "urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2";
    let named = json!({ "xml": { "record": "/Order", "namespaces": { "b": cbc } } });
    let found = all(&self::reading(named, None, 1 << 16), UBL);
    assert_eq!(at(&found[0], ".\"b:ID\""), "AEG012345");
    let wrong = json!({ "xml": { "record": "/b:Order", "namespaces": { "b": cbc } } });
    assert!(all(&self::reading(wrong, None, 1 << 16), UBL).is_empty(), "another namespace");
}

#[test]
fn an_order_of_cxml_keeps_its_attributes_and_lines() {
    let way = json!({ "xml": { "record": "/cXML/Request/OrderRequest" } });
    let found = all(&reading(way, None, 1 << 16), CXML);
    assert_eq!(causes(&found), [""]);
    assert_eq!(at(&found[0], ".OrderRequestHeader.\"@orderID\""), "DO1234");
    assert_eq!(at(&found[0], ".ItemOut[0].ItemID.SupplierPartID"), "00123-A");
    assert_eq!(at(&found[0], ".ItemOut[0].ItemDetail.Description.\"#text\""), "Nuts & bolts");
    assert_eq!(at(&found[0], ".ItemOut[1].ItemDetail.UnitPrice.Money.\"#text\""), "3.65");
}

#[test]
fn xml_fetches_nothing_and_expands_nothing() {
    let reading = reading(json!({ "xml": { "record": "/r/o" } }), None, 1 << 16);
    for text in [
        "<!DOCTYPE r [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><r><o>&x;</o></r>",
        "<!DOCTYPE r SYSTEM \"http://127.0.0.1:1/r.dtd\"><r><o>1</o></r>",
        "<!DOCTYPE r [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><r><o>&b;</o></r>",
    ] {
        assert_eq!(causes(&all(&reading, text.as_bytes())), ["xml_dtd"], "{text}");
    }
    let entities = "<r><o>&x;</o><o a='&y;'/><o>&#65;&amp;</o></r>";
    let found = all(&reading, entities.as_bytes());
    assert_eq!(causes(&found), ["xml_entity", "xml_attribute", ""]);
    assert_eq!(value(&found[2]), Value::from("A&"));
    let deep = format!("<r><o>{}</o></r>", "<a>".repeat(200) + &"</a>".repeat(200));
    assert_eq!(causes(&all(&reading, deep.as_bytes())), ["xml_depth"]);
    assert_eq!(causes(&all(&reading, b"<r><o>1</o><o>2</x></r>")), ["", "xml_malformed"]);
    let utf_16 = reading.open(&input(b"\xff\xfe<\0"), Position::default());
    assert!(utf_16.is_err_and(|fault| fault.cause == "xml_encoding"));
}

#[test]
fn orders_of_edifact_are_read_with_their_separators() {
    let edifact = || reading(json!({ "edifact": {} }), None, 1 << 16);
    let found = all(&edifact(), EDIFACT);
    assert_eq!(causes(&found), ["", ""]);
    let order = &found[0];
    for (path, expected) in [
        (".interchange.sender", "5412345000013"),
        (".interchange.reference", "00000042"),
        (".message.type", "ORDERS"),
        (".message.version", "D:96A:UN"),
        (".header.BGM[0][1][0]", "128576"),
        (".header.\"DTM+137\"[0][1]", "20251231"),
        (".header.FTX[0][3][0]", "Call O'Neil: 10+2 ?"),
        (".header.parties.BY.NAD[0][3][0]", "Acme NV"),
        (".header.parties.BY.COM[0][0][0]", "peeters@example.com"),
        (".lines[1].LIN[0][2][0]", "4000862141411"),
        (".lines[1].\"PRI+AAA\"[0][1]", "1699.00"),
        (".summary.\"CNT+2\"[0][1]", "2"),
    ] {
        assert_eq!(at(order, path), expected, "{path}");
    }
    assert_eq!(at(&found[1], ".lines[0].LIN[0][2][0]"), "00123");
    let other = "UNA|*,! ~UNB*UNOC|3*A*B*1*9~UNH*1*ORDERS|D~FTX*a!*b~UNT*3*1~UNZ*1*9~";
    assert_eq!(at(&all(&edifact(), other.as_bytes())[0], ".header.FTX[0][0][0]"), "a*b");
    let latin = b"UNB+UNOC:3+A+B+1+9'UNH+1+ORDERS:D'FTX+\xe9'UNT+3+1'UNZ+1+9'";
    assert_eq!(at(&all(&edifact(), latin)[0], ".header.FTX[0][0][0]"), "é");
}

#[test]
fn what_edi_says_of_its_counts_is_held_against_what_is_there() {
    let edifact = reading(json!({ "edifact": {} }), None, 1 << 16);
    let text = std::str::from_utf8(EDIFACT).unwrap();
    for (from, to, expected) in [
        ("UNT+18+1", "UNT+17+1", vec!["segment_count", ""]),
        ("UNT+18+1", "UNT+18+7", vec!["segment_count", ""]),
        ("CNT+2:2", "CNT+2:3", vec!["line_count", ""]),
        ("UNZ+2", "UNZ+3", vec!["", "", "interchange_count"]),
        ("UNT+18+1'", "", vec!["edi_unended", ""]),
        ("UNZ+2+00000042'", "", vec!["", "", "edi_truncated"]),
        ("UNH+2+ORDERS", "UNH+2+INVOIC", vec!["", "message_type"]),
        ("UNZ+2", "FTX+1'UNZ+2", vec!["", "", "stray_segment"]),
        ("UNB+UNOC", "UNX+UNOC", vec!["no_interchange"]),
    ] {
        assert!(text.contains(from));
        assert_eq!(causes(&all(&edifact, text.replace(from, to).as_bytes())), expected, "{to}");
    }
    let x12 = reading(json!({ "x12": {} }), None, 1 << 16);
    let text = std::str::from_utf8(X12).unwrap();
    for (from, to, expected) in [
        ("SE*15*", "SE*14*", vec!["segment_count"]),
        ("CTT*2~", "CTT*3~", vec!["line_count"]),
        ("GE*1*", "GE*2*", vec!["", "group_count"]),
        ("IEA*1*", "IEA*2*", vec!["", "interchange_count"]),
        ("ST*850*", "ST*810*", vec!["message_type"]),
    ] {
        assert_eq!(causes(&all(&x12, text.replace(from, to).as_bytes())), expected, "{to}");
    }
}

/// An order must not be booked to who sent the interchange before.
#[test]
fn an_interchange_that_is_cut_off_gives_nothing_to_the_next() {
    let edifact = reading(json!({ "edifact": {} }), None, 1 << 16);
    let from = |sender: &str, rest: &str| {
        format!("UNB+UNOA:1+{sender}+B+260101:0000+1'UNH+1+ORDERS:D'BGM+220'{rest}")
    };
    let whole = from("CCC", "UNT+3+1'UNZ+1+1'");
    for (rest, expected) in [
        ("", vec!["edi_unended", "interchange_count", ""]),
        ("UNT+3+1'", vec!["", "interchange_count", ""]),
        ("UNT+3+1'UNZ+1+1'", vec!["", ""]),
    ] {
        for advice in ["", "UNA:+.? '"] {
            let found = all(&edifact, format!("{}{advice}{whole}", from("AAA", rest)).as_bytes());
            assert_eq!(causes(&found), expected, "{rest} {advice}");
            assert_eq!(at(found.last().unwrap(), ".interchange.sender"), "CCC");
        }
    }
    let x12 = reading(json!({ "x12": {} }), None, 1 << 16);
    let text = std::str::from_utf8(X12).unwrap();
    let next = text.replace("ACMEBUYER", "OTHERSHOP").replace('~', "!");
    let cut = text.split("IEA*").next().unwrap();
    let found = all(&x12, format!("{cut}{next}").as_bytes());
    assert_eq!(causes(&found), ["", "interchange_count", ""]);
    assert_eq!(at(&found[2], ".interchange.sender"), "OTHERSHOP");
    let cut = text.split("GE*").next().unwrap();
    let end = text.find("IEA*").map(|at| &text[at..]).unwrap();
    assert_eq!(causes(&all(&x12, format!("{cut}{end}").as_bytes())), ["", "group_count"]);
}

#[test]
fn a_purchase_order_of_x12_is_read_by_its_elements_names() {
    let found = all(&reading(json!({ "x12": {} }), None, 1 << 16), X12);
    assert_eq!(causes(&found), [""]);
    for (path, expected) in [
        (".interchange.sender", "ACMEBUYER"),
        (".interchange.reference", "000000042"),
        (".message.version", "004010"),
        (".header.BEG[0].BEG03", "PO00123"),
        (".header.\"N1*ST\".N102", "Acme Dock: 7"),
        (".header.parties.BT.N4[0].N403", "62701"),
        (".header.parties.ST.N4[0].N403", "61602"),
        (".header.\"REF*DP\".REF02", "038"),
        (".lines[0].PO1[0].PO104", "12.50"),
        (".lines[0].PID[0].PID05", "Widget, large"),
        (".lines[1].PO1[0].PO107", "00124"),
        (".summary.CTT[0].CTT01", "2"),
    ] {
        assert_eq!(at(&found[0], path), expected, "{path}");
    }
}
