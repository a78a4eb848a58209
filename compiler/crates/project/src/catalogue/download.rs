//! Downloads through the `curl` command: the system's certificates and proxies are used as they are set up, and no
//! TLS library is part of every build.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use secateur_base::{Error, Result, errln};

use super::RemoteFile;

/// Bytes a second; a transfer that stays below for the stall limit is given up.
const MIN_SPEED: u32 = 1000;

/// Downloads a file and verifies it.
pub(super) fn download(file: &RemoteFile, stall_limit: Duration) -> Result<Vec<u8>> {
    let fail = |what: String| {
        Error::new(what).help(format!("fetch {} yourself and use --from DIR with its folder", file.url))
    };
    errln!("downloading {}", file.url);
    let mut curl = start_curl(file, stall_limit).map_err(|e| fail(format!("cannot start curl: {e}")))?;
    let mut bytes = Vec::new();
    let stdout = curl.stdout.take().ok_or_else(|| fail("curl has no output".to_owned()))?;
    // A server that sends more than announced is cut off, not stored.
    let read = stdout.take(file.bytes + 1).read_to_end(&mut bytes);
    let status = curl.wait().map_err(|e| fail(format!("curl did not end: {e}")))?;
    read.map_err(|e| fail(format!("cannot read from curl: {e}")))?;
    if !status.success() && bytes.len() as u64 <= file.bytes {
        return Err(fail(format!("cannot download {} (curl: {status})", file.url)));
    }
    file.verify(&file.url, &bytes)?;
    Ok(bytes)
}

fn start_curl(file: &RemoteFile, stall_limit: Duration) -> std::io::Result<Child> {
    let seconds = stall_limit.as_secs().max(1).to_string();
    Command::new("curl")
        // Must come first: no ~/.curlrc, which could send the file elsewhere or lift the limits below.
        .arg("--disable")
        .args(["--fail", "--silent", "--show-error", "--location", "--proto", "=https", "--retry", "3"])
        .args(["--connect-timeout", &seconds, "--speed-limit", &MIN_SPEED.to_string()])
        .args(["--speed-time", &seconds, "--", &file.url])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
}
