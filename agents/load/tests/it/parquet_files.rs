//! Parquet files as the Hugging Face hub has them, written here by the same library.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use em_api::spec::DatasetSource::{Jsonl, Msmarco, Parquet};
use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, Int32Type, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use crate::files::texts;

/// Values, definition and repetition levels of one column.
enum Column<'a> {
    Texts(&'a [&'a [u8]], &'a [i16], &'a [i16]),
    Numbers(&'a [i32], &'a [i16], &'a [i16]),
    Longs(&'a [i64]),
}

/// A file of so many equal row groups.
fn write(path: &Path, schema: &str, groups: usize, packed: Compression, columns: &[Column<'_>]) {
    let schema = Arc::new(parse_message_type(schema).expect("a schema"));
    let properties = Arc::new(WriterProperties::builder().set_compression(packed).build());
    let mut writer = SerializedFileWriter::new(File::create(path).expect("a file"), schema, properties).expect("a writer");
    for _ in 0..groups {
        let mut group = writer.next_row_group().expect("a group");
        for column in columns {
            let mut out = group.next_column().expect("the schema").expect("a column");
            match column {
                Column::Texts(values, there, lists) => {
                    let values: Vec<ByteArray> = values.iter().map(|value| value.to_vec().into()).collect();
                    out.typed::<ByteArrayType>().write_batch(&values, some(there), some(lists)).expect("texts");
                }
                Column::Numbers(values, there, lists) => {
                    out.typed::<Int32Type>().write_batch(values, some(there), some(lists)).expect("numbers");
                }
                Column::Longs(values) => {
                    out.typed::<Int64Type>().write_batch(values, None, None).expect("numbers");
                }
            }
            out.close().expect("a column");
        }
        group.close().expect("a group");
    }
    writer.close().expect("a file");
}

fn some(levels: &[i16]) -> Option<&[i16]> {
    (!levels.is_empty()).then_some(levels)
}

/// As `datasets` writes MS MARCO v1.1 and v2.1: a struct of lists.
const HUB: &str = "message schema {
    optional group passages {
        optional group is_selected (LIST) { repeated group list { optional int32 element; } }
        optional group passage_text (LIST) { repeated group list { optional binary element (UTF8); } }
        optional group url (LIST) { repeated group list { optional binary element (UTF8); } }
    }
    optional binary query (UTF8);
    required int64 query_id;
}";

#[test]
fn the_passages_of_the_hub_are_taken_out_of_their_lists() {
    let folder = tempfile::tempdir().expect("temporary folder");
    // Two passages, then a row without any, then one that is null and one that is empty.
    let (there, lists) = ([4, 4, 2, 3, 4], [0, 1, 0, 0, 1]);
    for (name, groups) in [("train-00000-of-00002.parquet", 1), ("train-00001-of-00002.parquet", 3)] {
        let passages: &[&[u8]] = &[b" first passage ", b"second\npassage", b""];
        let columns = [
            Column::Numbers(&[0, 1, 0], &there, &lists),
            Column::Texts(passages, &there, &lists),
            Column::Texts(&[b"http://a", b"http://b", b"http://c"], &there, &lists),
            Column::Texts(&[b"q1", b"q2", b"q3"], &[1, 1, 1], &[]),
            Column::Longs(&[1, 2, 3]),
        ];
        write(&folder.path().join(name), HUB, groups, Compression::SNAPPY, &columns);
    }
    for source in [Parquet, Msmarco] {
        let found = texts(source, folder.path()).expect("texts");
        let wanted: Vec<&str> = ["first passage"; 4].into_iter().chain(["second\npassage"; 4]).collect();
        assert_eq!(found, wanted, "both files, all groups");
    }
    let loaded = em_load::dataset::load(&crate::files::of(Parquet, folder.path())).expect("texts");
    assert_eq!(loaded.report().malformed_lines, 4 * 3, "what gives no text is counted");
}

#[test]
fn a_plain_column_is_found_by_its_usual_names_and_a_title_goes_before_it() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("corpus.parquet");
    for (name, packed) in [
        ("text", Compression::ZSTD(ZstdLevel::default())),
        ("passage", Compression::GZIP(Default::default())),
        ("content", Compression::UNCOMPRESSED),
        ("contents", Compression::SNAPPY),
    ] {
        let schema = format!("message schema {{ required binary _id (UTF8); optional binary {name} (UTF8); }}");
        let texts_of: &[&[u8]] = &[b"one", b"two"];
        write(&path, &schema, 1, packed, &[Column::Texts(&[b"1", b"2", b"3"], &[], &[]), Column::Texts(texts_of, &[1, 0, 1], &[])]);
        assert_eq!(texts(Parquet, &path).expect(name), ["one", "two"]);
    }
    // As the JSON lines of the same data.
    let schema = "message schema { required binary _id (UTF8); optional binary title (UTF8); required binary text (UTF8); }";
    let (titles, bodies): (&[&[u8]], &[&[u8]]) = (&[b"T1", b""], &[b"one", b"two", b"three"]);
    let columns =
        [Column::Texts(&[b"1", b"2", b"3"], &[], &[]), Column::Texts(titles, &[1, 0, 1], &[]), Column::Texts(bodies, &[], &[])];
    write(&path, schema, 1, Compression::SNAPPY, &columns);
    let lines = folder.path().join("corpus.jsonl");
    std::fs::write(&lines, "{\"title\":\"T1\",\"text\":\"one\"}\n{\"text\":\"two\"}\n{\"title\":\"\",\"text\":\"three\"}\n")
        .expect("writing");
    assert_eq!(texts(Parquet, &path).expect("texts"), ["T1 one", "three", "two"]);
    assert_eq!(texts(Parquet, &path).expect("texts"), texts(Jsonl, &lines).expect("texts"));
}

#[test]
fn more_rows_than_are_read_at_a_time_stay_in_step() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("many.parquet");
    let words: Vec<String> = (0..5_000).map(|n| format!("text {n:04}")).collect();
    let titles: Vec<String> = (0..5_000).filter(|n| n % 3 == 0).map(|n| format!("title {n:04}")).collect();
    let there: Vec<i16> = (0..5_000).map(|n| i16::from(n % 3 == 0)).collect();
    let words: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
    let titles: Vec<&[u8]> = titles.iter().map(String::as_bytes).collect();
    let schema = "message schema { required binary text (UTF8); optional binary title (UTF8); }";
    let columns = [Column::Texts(&words, &[], &[]), Column::Texts(&titles, &there, &[])];
    write(&path, schema, 1, Compression::SNAPPY, &columns);
    let dataset = em_load::DatasetRef { limit: 10_000, ..crate::files::of(Parquet, &path) };
    let loaded = em_load::dataset::load(&dataset).expect("texts");
    assert_eq!(loaded.len(), 5_000);
    for index in 0..loaded.len() {
        let text = loaded.get(index);
        let n: u32 = text[text.len() - 4..].parse().expect("its number");
        let wanted = if n.is_multiple_of(3) { format!("title {n:04} text {n:04}") } else { format!("text {n:04}") };
        assert_eq!(text, wanted);
    }
}

#[test]
fn a_column_that_is_not_there_or_holds_no_texts_is_told() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("x.parquet");
    let error = || texts(Parquet, &path).expect_err("no texts").to_string();

    let other = "message schema { required binary body (UTF8); required int64 id; }";
    write(&path, other, 1, Compression::SNAPPY, &[Column::Texts(&[b"b"], &[], &[]), Column::Longs(&[1])]);
    assert!(
        error().contains("has no column passages.passage_text, text, passage, content, contents; it has body, id. `em-agent data prepare --column NAME`"),
        "{}",
        error()
    );
    write(&path, "message schema { required int64 text; }", 1, Compression::SNAPPY, &[Column::Longs(&[1])]);
    assert!(error().contains("the column text of") && error().contains("holds INT64, no texts"), "{}", error());

    let two = "message schema { required group text { required binary de (UTF8); required binary en (UTF8); } }";
    write(&path, two, 1, Compression::SNAPPY, &[Column::Texts(&[b"d"], &[], &[]), Column::Texts(&[b"e"], &[], &[])]);
    assert!(error().contains("has several texts in it (text.de, text.en)"), "{}", error());

    let text = "message schema { required binary text; }";
    write(&path, text, 1, Compression::SNAPPY, &[Column::Texts(&[b"fine", b"\xff\xfe", b"good"], &[], &[])]);
    assert_eq!(texts(Parquet, &path).expect("texts"), ["fine", "good"], "and the row that is no UTF-8 is counted");
    assert_eq!(em_load::dataset::load(&crate::files::of(Parquet, &path)).expect("texts").report().malformed_lines, 1);
    write(&path, text, 1, Compression::SNAPPY, &[Column::Texts(&[b"\xff", b"\xfe", b"good"], &[], &[])]);
    assert!(error().contains("(x.parquet row 1: not UTF-8)"), "{}", error());

    let whole = std::fs::read(&path).expect("the file");
    std::fs::write(&path, &whole[..whole.len() - 4]).expect("writing");
    assert!(error().contains("cannot be read as parquet"), "{}", error());
}
