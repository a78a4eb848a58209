use proptest::prelude::*;

use super::*;

#[test]
fn every_wire_type() {
    let message = Encoder::default().varint(1, 300).bytes(2, b"conv1").float(5, 1.5).floats(6, &[1.0, 2.0]);
    let mut bytes = message.varints(8, &[1, 1 << 40]).bytes;
    // A group 7 with a field 1, and 64 bits.
    bytes.extend([0x3b, 0x08, 0x05, 0x3c, 0x49]);
    bytes.extend(2.5_f64.to_le_bytes());
    let fields: Vec<_> = Message(&bytes).fields().collect::<Result<_>>().unwrap();
    assert_eq!(fields[0].varint().unwrap(), 300);
    assert_eq!(fields[1].text().unwrap(), "conv1");
    assert_eq!(fields[2].float().unwrap(), 1.5);
    let mut floats = Vec::new();
    fields[2].floats(&mut floats).unwrap();
    fields[3].floats(&mut floats).unwrap();
    assert_eq!(floats, [1.5, 1.0, 2.0]);
    let mut integers = Vec::new();
    fields[4].varints(&mut integers).unwrap();
    assert_eq!(integers, [1, 1 << 40]);
    assert_eq!(fields[5].value, Value::Group(&[0x08, 0x05, 0x3c]));
    let mut doubles = Vec::new();
    fields[6].doubles(&mut doubles).unwrap();
    assert_eq!(doubles, [2.5]);
    assert_eq!(fields.iter().map(|field| field.raw.len()).sum::<usize>(), bytes.len());
}

#[test]
fn hostile_lengths_are_refused() {
    for bytes in [
        &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01][..],
        &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f],
        &[0x0a, 0x02, 0x00],
        &[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        &[0x0d, 0, 0],
        &[0x0b, 0x08],
        &[0x02, 0x00],
        &[0x0e],
    ] {
        assert!(Message(bytes).fields().any(|field| field.is_err()), "{bytes:?}");
    }
    let groups = vec![0x0b; 1 << 20];
    assert!(Message(&groups).all(1).unwrap_err().to_string().contains("too deep"));
}

#[test]
fn only_the_named_field_changes() {
    // An overlong integer stays as it is; what is not known stays too.
    let layer = [0x08, 0x80, 0x00, 0x12, 0x01, b'a'];
    let net = Encoder::default().bytes(100, &layer).varint(9999, 7).bytes;
    let rename = |field: &Field<'_>| {
        if field.number != 100 {
            return Ok(Action::Keep);
        }
        let layer = rewrite(field.bytes()?, |field| {
            Ok(if field.number == 2 { Action::Content(b"conv".to_vec()) } else { Action::Keep })
        })?;
        Ok(layer.map_or(Action::Keep, Action::Content))
    };
    let renamed = rewrite(&net, rename).unwrap().unwrap();
    let layer = [0x08, 0x80, 0x00, 0x12, 0x04, b'c', b'o', b'n', b'v'];
    assert_eq!(renamed, Encoder::default().bytes(100, &layer).varint(9999, 7).bytes);
    assert_eq!(rewrite(&net, |_| Ok(Action::Keep)).unwrap(), None);
    let without = rewrite(&net, |field| {
        Ok(if field.number == 100 { Action::Fields(Encoder::default()) } else { Action::Keep })
    });
    assert_eq!(without.unwrap().unwrap(), Encoder::default().varint(9999, 7).bytes);
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let fields: Result<Vec<_>> = Message(&bytes).fields().collect();
        if let Ok(fields) = fields {
            let raw: Vec<u8> = fields.iter().flat_map(|field| field.raw.to_vec()).collect();
            prop_assert_eq!(&raw, &bytes);
            let copied = rewrite(&bytes, |field| Ok(match field.value {
                Value::Bytes(content) => Action::Content(content.to_vec()),
                _ => Action::Keep,
            }));
            // Written anew, a length may take fewer bytes, never more, and reads the same.
            if let Some(copied) = copied.unwrap() {
                prop_assert!(copied.len() <= bytes.len());
                let again: Vec<_> = Message(&copied).fields().collect::<Result<_>>().unwrap();
                prop_assert!(again.iter().zip(&fields).all(|(a, b)| (a.number, a.value) == (b.number, b.value)));
            }
        }
    }

    #[test]
    fn integers_survive(number in 1_u32..1 << 29, values in proptest::collection::vec(any::<u64>(), 0..20)) {
        let bytes = Encoder::default().varints(number, &values).bytes;
        let mut read = Vec::new();
        for field in Message(&bytes).all(number).unwrap() {
            field.varints(&mut read).unwrap();
        }
        prop_assert_eq!(read, values);
    }
}
