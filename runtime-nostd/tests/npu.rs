//! Command streams of the accelerator.

use secateur_runtime::npu::isa::{Control, Exec, Opcode, Transfer, UNIT};
use secateur_runtime::npu::stream::{BadCommand, Commands, Queue};
use zerocopy::IntoBytes;

fn stream() -> Vec<u8> {
    let load = Transfer { opcode: Opcode::LoadMap.code(), ..Default::default() };
    let exec = Exec { opcode: Opcode::Exec.code(), wait_load: 1.into(), ..Default::default() };
    let store = Transfer { opcode: Opcode::StoreMap.code(), wait_exec: 1.into(), ..Default::default() };
    let end = Control { opcode: Opcode::End.code(), wait_store: 1.into(), ..Default::default() };
    [load.as_bytes(), exec.as_bytes(), store.as_bytes(), end.as_bytes()].concat()
}

#[test]
fn reads_each_command_and_stops_at_the_end() {
    let mut bytes = stream();
    bytes.extend_from_slice(&[0xff; UNIT]);
    let queues: Vec<_> = Commands::new(&bytes).map(|c| c.map(|c| (c.queue(), c.waits()))).collect();
    let expected = [
        (Queue::Load, [0, 0, 0]),
        (Queue::Exec, [1, 0, 0]),
        (Queue::Store, [0, 1, 0]),
        (Queue::Exec, [0, 0, 1]),
    ];
    assert_eq!(queues, expected.map(Ok));
}

#[test]
fn names_the_place_of_damage() {
    let mut bytes = stream();
    bytes[4 * UNIT] = 0x77;
    assert_eq!(Commands::new(&bytes).last(), Some(Err(BadCommand { unit: 4 })));
    bytes.truncate(2 * UNIT);
    assert_eq!(Commands::new(&bytes).last(), Some(Err(BadCommand { unit: 1 })));
}
