//! `docs/artefact.md` describes the records as they are.

use std::collections::BTreeMap;
use std::mem::offset_of;

use secateur_runtime::artefact::format::*;
use secateur_runtime::npu::program::{CommandRecord, MapRecord, ProgramHeader};

const DOCUMENT: &str = include_str!("../../docs/artefact.md");

/// Field → offset of the table under a heading, and the record's size by its last row.
fn table(heading: &str) -> (BTreeMap<&'static str, usize>, usize) {
    let section = DOCUMENT.split(&format!("### {heading}\n")).nth(1).expect(heading);
    let rows = section.lines().skip_while(|line| !line.starts_with("| at ")).skip(2);
    let mut fields = BTreeMap::new();
    let mut end = 0;
    for row in rows.take_while(|line| line.starts_with('|')) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let at: usize = cells[1].parse().unwrap();
        assert_eq!(at, end, "{heading}: {row}");
        end = at + size(cells[2]);
        fields.insert(cells[3], at);
    }
    (fields, end)
}

fn size(kind: &str) -> usize {
    match kind {
        "u8" => 1,
        "u16" | "i16" => 2,
        "u32" | "i32" => 4,
        "TextRef" => 8,
        array => {
            let (item, count) = array.trim_matches(['[', ']']).split_once("; ").unwrap();
            size(item) * count.parse::<usize>().unwrap()
        }
    }
}

macro_rules! compare {
    ($record:ident: $($field:ident)*) => {
        let (fields, bytes) = table(stringify!($record));
        let code = BTreeMap::from([$((stringify!($field), offset_of!($record, $field)),)*]);
        assert_eq!(fields, code, stringify!($record));
        assert_eq!(bytes, size_of::<$record>(), stringify!($record));
    };
}

#[test]
fn records_are_documented() {
    compare!(Header: magic version_major version_minor file_bytes section_count arena_bytes input flags reserved);
    compare!(SectionRecord: kind offset count stride);
    compare!(TensorRecord: offset h w c pitch dtype zero_point scale_bits layer);
    compare!(StepRecord: kind target encoding layer first_operand operand_count output scratch_offset
        scratch_bytes groups kernel_h kernel_w stride_h stride_w dilation_h dilation_w pad_top pad_left lo hi
        mode table_zero_point weights weights_bytes bias requant requant_count table multipliers reserved1);
    compare!(HeadRecord: kind tensor layer classes first_anchor anchor_count channels_per_anchor flags xy wh
        objectness class reserved);
    compare!(AnchorRecord: w h);
    compare!(SuppressionRecord: kind threshold curve reserved);
    compare!(TextRef: offset bytes);
    compare!(ProvenanceRecord: cfg_sha256 weights_sha256 recipe_sha256 network tool target);
    compare!(ProgramHeader: magic version rows lanes bank_words weight_words param_entries axi_bytes work_bytes
        stream_offset stream_bytes map_offset map_count watchdog cycles drain_rows);
    compare!(MapRecord: tensor address pitch channels h w role reserved);
    compare!(CommandRecord: tensor channel layer start end);
    assert_eq!(table("Requant").1, size_of::<Requant>());
}

#[test]
fn codes_are_documented() {
    let kinds = DOCUMENT.split("| kind | operation | reads |").nth(1).unwrap();
    let rows: Vec<&str> = kinds.lines().skip(2).take_while(|line| line.starts_with('|')).collect();
    for (code, row) in rows.iter().enumerate() {
        let kind = StepKind::from_code(code as u16).unwrap();
        assert!(row.starts_with(&format!("| {code} | {kind:?} |")), "{row}");
    }
    assert_eq!(StepKind::from_code(rows.len() as u16), None);
    for kind in (0..100).flat_map(|code| [code, OPTIONAL | code]).filter_map(Section::from_code) {
        assert!(DOCUMENT.contains(&format!("| {} | {kind:?} |", kind.code())), "{kind:?}");
    }
}
