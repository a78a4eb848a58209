//! Markers and their segments (T.81, annex B).

use super::bits::Huffman;
use super::{Failure, Result, scan};

/// Order of coefficients in the file: index in an 8×8 block, by rows.
const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7,
    14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39,
    46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// Place in a block of the coefficient number `k` of the file.
pub(super) fn place(k: usize) -> usize {
    usize::from(ZIGZAG[k])
}

/// The image's layout.
pub(super) struct Frame {
    pub(super) progressive: bool,
    pub(super) width: usize,
    pub(super) height: usize,
    /// Greatest horizontal and vertical sampling factor.
    pub(super) sampling: (usize, usize),
    /// Units of all components, across and down.
    pub(super) units: (usize, usize),
    pub(super) components: Vec<Component>,
}

/// Passes over each block that every file may make: encoders' scripts have up to 12 for each component.
const FREE_PASSES: usize = 16;
/// Further block visits for each byte of the file: a block that changes takes at least a bit.
const VISITS_PER_BYTE: usize = 8;

impl Frame {
    /// Block visits that all scans of a file of `bytes` bytes may make together.
    ///
    /// A progressive scan that changes nothing takes a few bytes and a walk over every block; without this
    /// bound a file of 200 kB can keep the decoder busy for minutes.
    fn allowed_visits(&self, bytes: usize) -> usize {
        let blocks: usize = self.components.iter().map(|c| c.blocks.0 * c.blocks.1).sum();
        blocks.saturating_mul(FREE_PASSES).saturating_add(bytes.saturating_mul(VISITS_PER_BYTE))
    }
}

/// One component with its coefficients.
pub(super) struct Component {
    id: u8,
    pub(super) sampling: (usize, usize),
    /// Samples across and down that belong to the image.
    pub(super) size: (usize, usize),
    /// 8×8 blocks in memory, across and down; whole units.
    pub(super) blocks: (usize, usize),
    quantisation: usize,
    /// Table of its first scan, by place in the block.
    pub(super) quantiser: Option<[u16; 64]>,
    /// `[block][64]`, by place in the block, not yet multiplied.
    pub(super) coefficients: Vec<i16>,
}

/// Everything that the segments said.
pub(super) struct Decoded {
    pub(super) frame: Frame,
    jfif: bool,
    adobe_transform: Option<u8>,
}

impl Decoded {
    /// Three components that are red, green and blue, by their names or by Adobe's marker.
    pub(super) fn is_rgb(&self) -> bool {
        let names = self.frame.components.iter().map(|component| component.id);
        self.frame.components.len() == 3
            && (names.eq(*b"RGB") || (self.adobe_transform == Some(0) && !self.jfif))
    }
}

/// Tables that scans use.
#[derive(Default)]
pub(super) struct Tables {
    quantisers: [Option<[u16; 64]>; 4],
    pub(super) dc: [Option<Huffman>; 4],
    pub(super) ac: [Option<Huffman>; 4],
    /// Units between restart markers; 0 for none.
    pub(super) restart: usize,
}

/// What a scan header says.
pub(super) struct ScanHeader {
    /// Component, DC table, AC table.
    pub(super) components: Vec<(usize, usize, usize)>,
    /// First and last coefficient.
    pub(super) spectrum: (usize, usize),
    /// Bit of the values: that of the scan before (0: none) and this one's.
    pub(super) bit: (u32, u32),
}

/// Reads the whole file: headers, tables and all scans.
pub(super) fn read(bytes: &[u8], max_side: usize, max_bytes: usize) -> Result<Decoded> {
    let mut at = 2;
    let mut tables = Tables::default();
    let mut frame: Option<Frame> = None;
    let (mut jfif, mut adobe_transform, mut scans) = (false, None, 0);
    let mut visits = 0;
    while let Some(marker) = next_marker(bytes, &mut at) {
        match marker {
            0xD9 => break,
            0x01 | 0xD0..=0xD8 => continue,
            _ => {}
        }
        let segment = segment(bytes, &mut at)?;
        match marker {
            0xDB => quantisers(segment, &mut tables)?,
            0xC4 => codes(segment, &mut tables)?,
            0xDD => tables.restart = usize::from(word(segment, 0)?),
            0xE0 => jfif |= segment.starts_with(b"JFIF\0"),
            0xEE if segment.starts_with(b"Adobe") => adobe_transform = segment.get(11).copied(),
            0xC0..=0xC2 if frame.is_some() => return Err(Failure::Damaged("a second frame")),
            0xC0..=0xC2 => frame = Some(start_of_frame(segment, marker == 0xC2, max_side, max_bytes)?),
            0xC3 | 0xC5..=0xC7 | 0xC9..=0xCF => {
                return Err(Failure::Unsupported("lossless, hierarchical or arithmetic coding"));
            }
            0xDC => return Err(Failure::Unsupported("a height that stands behind the image")),
            0xDA => {
                let frame = frame.as_mut().ok_or(Failure::Damaged("a scan before the frame"))?;
                let header = scan_header(segment, frame, &tables)?;
                visits += scan::block_visits(frame, &header);
                if visits > frame.allowed_visits(bytes.len()) {
                    return Err(Failure::Damaged("more passes over the image than its bytes can fill"));
                }
                at = scan::read(bytes, at, frame, &header, &tables)?;
                scans += 1;
            }
            _ => {}
        }
    }
    match frame {
        Some(frame) if scans > 0 && frame.components.iter().all(|c| c.quantiser.is_some()) => {
            Ok(Decoded { frame, jfif, adobe_transform })
        }
        _ => Err(Failure::Damaged("the file ends before the image")),
    }
}

/// Skips to the next marker; none at the end of the file.
fn next_marker(bytes: &[u8], at: &mut usize) -> Option<u8> {
    loop {
        *at += bytes.get(*at..)?.iter().position(|&byte| byte == 0xFF)?;
        *at += bytes.get(*at..)?.iter().position(|&byte| byte != 0xFF)? + 1;
        match bytes[*at - 1] {
            0 => {}
            marker => return Some(marker),
        }
    }
}

/// The segment behind a marker, without its length.
fn segment<'a>(bytes: &'a [u8], at: &mut usize) -> Result<&'a [u8]> {
    let length = usize::from(word(bytes, *at)?);
    let segment = bytes.get(*at + 2..*at + length).ok_or(Failure::Damaged("a segment is cut off"))?;
    *at += length;
    Ok(segment)
}

fn byte(segment: &[u8], at: usize) -> Result<u8> {
    segment.get(at).copied().ok_or(Failure::Damaged("a segment is too short"))
}

fn word(segment: &[u8], at: usize) -> Result<u16> {
    Ok(u16::from_be_bytes([byte(segment, at)?, byte(segment, at + 1)?]))
}

fn quantisers(mut segment: &[u8], tables: &mut Tables) -> Result<()> {
    while let Some(&head) = segment.first() {
        let (wide, id) = (head >> 4 != 0, usize::from(head & 15));
        let mut table = [0; 64];
        for k in 0..64 {
            table[place(k)] = if wide { word(segment, 1 + 2 * k)? } else { u16::from(byte(segment, 1 + k)?) };
        }
        *tables.quantisers.get_mut(id).ok_or(Failure::Damaged("a fifth quantisation table"))? = Some(table);
        segment = &segment[1 + 64 * (1 + usize::from(wide))..];
    }
    Ok(())
}

fn codes(mut segment: &[u8], tables: &mut Tables) -> Result<()> {
    while let Some(&head) = segment.first() {
        let mut counts = [0; 16];
        counts.copy_from_slice(segment.get(1..17).ok_or(Failure::Damaged("a segment is too short"))?);
        let total: usize = counts.iter().map(|&count| usize::from(count)).sum();
        let symbols = segment.get(17..17 + total).ok_or(Failure::Damaged("a segment is too short"))?;
        let kind = if head >> 4 == 0 { &mut tables.dc } else { &mut tables.ac };
        let slot = kind.get_mut(usize::from(head & 15)).ok_or(Failure::Damaged("a fifth Huffman table"))?;
        *slot = Some(Huffman::new(&counts, symbols)?);
        segment = &segment[17 + total..];
    }
    Ok(())
}

fn start_of_frame(segment: &[u8], progressive: bool, max_side: usize, max_bytes: usize) -> Result<Frame> {
    if byte(segment, 0)? != 8 {
        return Err(Failure::Unsupported("samples of other than 8 bits"));
    }
    let (height, width) = (usize::from(word(segment, 1)?), usize::from(word(segment, 3)?));
    if width == 0 || height == 0 {
        return Err(Failure::Unsupported("an image without width or height"));
    }
    if width > max_side || height > max_side {
        return Err(Failure::Damaged("the image is too large"));
    }
    let count = usize::from(byte(segment, 5)?);
    if !matches!(count, 1 | 3) {
        return Err(Failure::Unsupported("other than one or three components"));
    }
    let factors: Vec<(usize, usize)> = (0..count)
        .map(|n| byte(segment, 7 + 3 * n).map(|hv| (usize::from(hv >> 4), usize::from(hv & 15))))
        .collect::<Result<_>>()?;
    let across = factors.iter().map(|f| f.0).max().unwrap_or(0);
    let down = factors.iter().map(|f| f.1).max().unwrap_or(0);
    let fits = |factor: usize, max: usize| (1..=4).contains(&factor) && max.is_multiple_of(factor);
    if !factors.iter().all(|f| fits(f.0, across) && fits(f.1, down)) {
        return Err(Failure::Unsupported("sampling factors that do not divide one another"));
    }
    let units = (width.div_ceil(8 * across), height.div_ceil(8 * down));
    let blocks = |f: (usize, usize)| (units.0 * f.0, units.1 * f.1);
    let bytes: usize = factors.iter().map(|&f| blocks(f).0 * blocks(f).1 * 64 * 3).sum();
    if bytes > max_bytes {
        return Err(Failure::Damaged("the image is too large"));
    }
    let components = factors
        .iter()
        .enumerate()
        .map(|(n, &sampling)| {
            let blocks = blocks(sampling);
            Ok(Component {
                id: byte(segment, 6 + 3 * n)?,
                sampling,
                size: ((width * sampling.0).div_ceil(across), (height * sampling.1).div_ceil(down)),
                blocks,
                quantisation: usize::from(byte(segment, 8 + 3 * n)?),
                quantiser: None,
                coefficients: vec![0; blocks.0 * blocks.1 * 64],
            })
        })
        .collect::<Result<_>>()?;
    Ok(Frame { progressive, width, height, sampling: (across, down), units, components })
}

fn scan_header(segment: &[u8], frame: &mut Frame, tables: &Tables) -> Result<ScanHeader> {
    let count = usize::from(byte(segment, 0)?);
    if count == 0 || count > frame.components.len() {
        return Err(Failure::Damaged("a scan of no or too many components"));
    }
    let mut components = Vec::with_capacity(count);
    for n in 0..count {
        let (id, selectors) = (byte(segment, 1 + 2 * n)?, byte(segment, 2 + 2 * n)?);
        let index = frame.components.iter().position(|component| component.id == id);
        let index = index.ok_or(Failure::Damaged("a scan of an unknown component"))?;
        let component = &mut frame.components[index];
        if component.quantiser.is_none() {
            component.quantiser = *tables
                .quantisers
                .get(component.quantisation)
                .ok_or(Failure::Damaged("a fifth quantisation table"))?;
        }
        if component.quantiser.is_none() {
            return Err(Failure::Damaged("a quantisation table is missing"));
        }
        components.push((index, usize::from(selectors >> 4), usize::from(selectors & 15)));
    }
    let (first, last) = (byte(segment, 1 + 2 * count)?, byte(segment, 2 + 2 * count)?);
    let bits = byte(segment, 3 + 2 * count)?;
    let (spectrum, bit) = if frame.progressive {
        ((usize::from(first), usize::from(last)), (u32::from(bits >> 4), u32::from(bits & 15)))
    } else {
        ((0, 63), (0, 0))
    };
    let sound = spectrum.0 <= spectrum.1 && spectrum.1 < 64 && bit.0 < 14 && bit.1 < 14;
    // In progressive files DC has scans of its own, and AC scans have one component.
    let split = !frame.progressive || if spectrum.0 == 0 { spectrum.1 == 0 } else { count == 1 };
    if !sound || !split {
        return Err(Failure::Damaged("a scan of impossible coefficients"));
    }
    Ok(ScanHeader { components, spectrum, bit })
}
