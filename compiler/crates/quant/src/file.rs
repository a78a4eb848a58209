//! The int8 network's file: magic, version, the network in postcard's format, CRC-32.

use std::path::Path;

use secateur_base::limits::MAX_INT8_NETWORK_BYTES;
use secateur_base::{Error, Result, files};
use secateur_runtime::artefact::crc32;

use super::net::QNet;

/// First bytes of an int8 network's file.
const MAGIC: [u8; 8] = *b"SECQNET\0";

/// Version of the file format; a reader accepts its own only.
const VERSION: u32 = 1;

impl QNet {
    /// Serialises the network: magic, version, postcard, and the CRC-32 of all that.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::from(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        let mut bytes = postcard::to_extend(self, bytes).expect("plain data always serialises");
        let checksum = crc32(&bytes);
        bytes.extend(checksum.to_le_bytes());
        bytes
    }

    /// Reads what [`QNet::to_bytes`] wrote; `path` is for messages.
    pub fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Self> {
        let bad =
            |what: &str| Error::new(what).file(path).help("write the file again with `secateur quantize`");
        if !bytes.starts_with(&MAGIC) {
            return Err(bad("not an int8 network of secateur"));
        }
        let cut_short = || bad("int8 network is cut short");
        let (content, checksum) = bytes.split_last_chunk().ok_or_else(cut_short)?;
        if crc32(content) != u32::from_le_bytes(*checksum) {
            return Err(bad("int8 network is damaged: its checksum differs"));
        }
        let body = content.strip_prefix(&MAGIC).ok_or_else(cut_short)?;
        let (version, body) = body.split_first_chunk().ok_or_else(cut_short)?;
        let version = u32::from_le_bytes(*version);
        if version != VERSION {
            return Err(bad("int8 network of another version")
                .found(version.to_string())
                .allowed(VERSION.to_string()));
        }
        let net: Self =
            postcard::from_bytes(body).map_err(|e| bad(&format!("int8 network cannot be read: {e}")))?;
        net.verify().map_err(|e| e.file(path))?;
        Ok(net)
    }

    /// Writes the network's file, whole or not at all.
    pub fn save(&self, path: &Path) -> Result<()> {
        files::write_bytes(path, &self.to_bytes())
    }

    /// Reads a network's file and checks it.
    pub fn load(path: &Path) -> Result<Self> {
        Self::from_bytes(path, &files::read_limited(path, MAX_INT8_NETWORK_BYTES)?)
    }
}
