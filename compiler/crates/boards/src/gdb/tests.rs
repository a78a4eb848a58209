//! A server of scripted answers; QEMU's own is met in the tests of firmware.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::packet::Wire;
use super::*;

/// A request for the description of the registers, and that there is none.
const DESCRIPTION: &str = "$qXfer:features:read:target.xml:0,7ff#4e";
const NO_XML: &[u8] = b"+$#00";

/// Sends each of `answers` after a packet has come, then closes the connection. Returns its address, and what came.
fn server(answers: &'static [&'static [u8]]) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serve = move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut came = Vec::new();
        for answer in answers {
            let begin = came.len();
            // To the sum's second digit.
            while !(came.len() >= begin + 4 && came[came.len() - 3] == b'#') {
                let mut byte = [0];
                if stream.read(&mut byte).unwrap() == 0 {
                    break;
                }
                came.push(byte[0]);
            }
            stream.write_all(answer).unwrap();
        }
        String::from_utf8(came).unwrap()
    };
    (address, thread::spawn(serve))
}

#[test]
fn packets_are_framed_and_pieces_joined() {
    let (address, server) = server(&[b"+$T05#b9", NO_XML, b"+$4f4b"]);
    let mut link = Gdb::connect(&address).unwrap();
    // The answer's end never comes.
    let error = link.read(0x20, &mut [0; 2]).unwrap_err().to_string();
    assert!(error.contains("closed"), "{error}");
    assert_eq!(server.join().unwrap(), format!("$?#3f+{DESCRIPTION}+$m20,2#2d"));
}

#[test]
fn what_is_no_server_or_refuses_is_an_error() {
    let cases: [(&[&[u8]], &str); 6] = [
        (&[b"HTTP/1.1 400 Bad Request\r\n"], "no server of GDB's protocol"),
        (&[b"+$T05#ba"], "damaged packet"),
        (&[b"+$T05#b9", NO_XML, b"+$E14#aa"], "0x00000020"),
        (&[b"+$T05#b9", NO_XML, b"+$4f#9a"], "cannot read 2 bytes"),
        (&[b"+$T05#b9", NO_XML, b"+$4f4b4f#ca"], "cannot read 2 bytes"),
        (&[], "lost gdb:"),
    ];
    for (answers, says) in cases {
        let (address, server) = server(answers);
        let error = Gdb::connect(&address).and_then(|mut link| link.read(0x20, &mut [0; 2]));
        let error = format!("{:?}", error.unwrap_err());
        assert!(error.contains(says), "{says:?} is not in {error}");
        server.join().unwrap();
    }
    let error = format!("{:?}", Gdb::connect("127.0.0.1:1").unwrap_err());
    assert!(error.contains("gdb:127.0.0.1:1") && error.contains("-S -gdb"), "{error}");
}

#[test]
fn a_processor_that_goes_on_is_interrupted() {
    // It answers nothing to `c`, which is a packet, and then to the interrupt, which is none.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = [0; 6];
        stream.read_exact(&mut bytes).unwrap();
        stream.write_all(b"$T02#b6").unwrap();
        bytes
    });
    let mut wire = Wire::connect(&address, Duration::from_secs(10)).unwrap();
    assert_eq!(wire.run(Instant::now()).unwrap(), None);
    assert_eq!(&server.join().unwrap(), b"$c#63\x03");
}
