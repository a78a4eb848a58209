//! An artefact as the files of a C program, or of a Rust one.

mod rust;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use object::read::archive::ArchiveFile;
use object::{Object, ObjectSection, SectionKind};
use secateur_base::{Error, Result, files};
use secateur_codegen::target::Target;
use secateur_runtime::Operators;
use secateur_runtime::artefact::Model;

use crate::workshop::Workshop;

const HEADER: &str = include_str!("../../../../runtime-nostd/ffi/include/secateur.h");
const EXAMPLE: &str = include_str!("embed/main.c");
const CMAKE: &str = include_str!("embed/CMakeLists.txt");

/// Files of [`Embedding::write`], all in one folder.
pub const FILES: [&str; 7] =
    ["secateur.h", "libsecateur.a", "model.h", "model.c", "image.c", "main.c", "CMakeLists.txt"];

/// Values in a line of an array.
const LINE: usize = 20;

/// A network in a program of its own, and the bytes that it takes there.
#[derive(Debug)]
pub struct Embedding<'a> {
    artefact: &'a [u8],
    model: Model<'a>,
    library: PathBuf,
    /// What of the static library can be linked: all of its functions and their constants, in bytes.
    pub text: u64,
    pub constants: u64,
}

impl<'a> Embedding<'a> {
    /// Builds the static library for the processor that an artefact was compiled for, with the kernels that it needs.
    /// `begin` is called before a build.
    ///
    /// # Errors
    /// The artefact is not valid, or was compiled for no processor that firmware is built for; the build fails.
    pub fn new(artefact: &'a [u8], workshop: &Workshop, begin: impl FnOnce(&str)) -> Result<Self> {
        let model = Model::from_bytes(artefact).map_err(|e| Error::new(e.to_string()))?;
        let name = model.target();
        // The name is an artefact's, which may come from anybody.
        let known = Target::names().find(|known| *known == name);
        let target = known.map(Target::load).transpose()?.filter(|target| target.processor.is_some());
        let target = target.ok_or_else(|| {
            Error::new("the artefact was not compiled for a processor that a library can be built for")
                .found(format!("target {name:?}"))
                .help("compile it for one, such as `secateur compile --target cortex-m4`")
        })?;
        let library = workshop.library(&target, Operators::of(&model), || begin(&target.name))?;
        let (text, constants) = sizes(&library)?;
        Ok(Self { artefact, model, library, text, constants })
    }

    /// Name of the target that the artefact was compiled for.
    pub fn target(&self) -> &str {
        self.model.target()
    }

    pub fn artefact_bytes(&self) -> usize {
        self.artefact.len()
    }

    pub fn arena_bytes(&self) -> usize {
        self.model.arena_bytes()
    }

    /// Writes [`FILES`] into `folder`. `pixels` is the example's image, `[h][w][c]` bytes.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(&self, folder: &Path, pixels: &[u8]) -> Result<()> {
        let library = std::fs::read(&self.library).map_err(|e| Error::io("read", &self.library, &e))?;
        let (header, source) = (self.model_header(), self.model_source());
        let image = format!("#include \"model.h\"\n\n{}", array("uint8_t image[MODEL_IMAGE_BYTES]", pixels));
        let contents: [&[u8]; FILES.len()] = [
            HEADER.as_bytes(),
            &library,
            header.as_bytes(),
            source.as_bytes(),
            image.as_bytes(),
            EXAMPLE.as_bytes(),
            CMAKE.as_bytes(),
        ];
        FILES.iter().zip(contents).try_for_each(|(name, bytes)| files::write_bytes(&folder.join(name), bytes))
    }

    fn model_header(&self) -> String {
        let [h, w, c] = self.model.input_shape();
        format!(
            "// A network as an artefact, and what it needs.\n\
             #ifndef SECATEUR_MODEL_H\n#define SECATEUR_MODEL_H\n\n#include <stdint.h>\n\n\
             #define MODEL_BYTES {}\n#define MODEL_ARENA_BYTES {}\n\
             #define MODEL_HEIGHT {h}\n#define MODEL_WIDTH {w}\n#define MODEL_CHANNELS {c}\n\
             #define MODEL_IMAGE_BYTES (MODEL_HEIGHT * MODEL_WIDTH * MODEL_CHANNELS)\n\n\
             // The artefact; flash will do.\nextern const uint8_t model[MODEL_BYTES];\n\
             // Name of a class; empty where it has none.\n\
             const char *model_class_name(unsigned class_number);\n\
             // The example's image: rows of pixels of interleaved channels.\n\
             extern const uint8_t image[MODEL_IMAGE_BYTES];\n\n#endif\n",
            self.artefact.len(),
            self.model.arena_bytes(),
        )
    }

    fn model_source(&self) -> String {
        let mut text = String::from("#include \"model.h\"\n\nstatic const char *const names[] = {\n");
        for class in 0..self.model.class_count() {
            let _ = writeln!(text, "    \"{}\",", escaped(self.model.class_name(class)));
        }
        text.push_str(
            "    \"\",\n};\n\nconst char *model_class_name(unsigned class_number) {\n    \
             const unsigned last = sizeof names / sizeof *names - 1;\n    \
             return names[class_number > last ? last : class_number];\n}\n\n",
        );
        // Constants are read as words, in pairs.
        text + &array("uint8_t model[MODEL_BYTES] __attribute__((aligned(16)))", self.artefact)
    }
}

/// A constant array of bytes.
fn array(declaration: &str, bytes: &[u8]) -> String {
    let mut text = format!("const {declaration} = {{\n");
    for line in bytes.chunks(LINE) {
        line.iter().for_each(|byte| {
            let _ = write!(text, "{byte},");
        });
        text.push('\n');
    }
    text + "};\n"
}

/// Foreign text inside a string of C: what is no letter, digit, blank, dash or underscore becomes its octal code.
fn escaped(text: &str) -> String {
    let mut safe = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b" -_".contains(&byte) {
            safe.push(char::from(byte));
        } else {
            let _ = write!(safe, "\\{byte:03o}");
        }
    }
    safe
}

/// Bytes of code and of constants in the archive's own members; the compiler's support library, of which little is
/// linked, is left out.
fn sizes(archive: &Path) -> Result<(u64, u64)> {
    let bad = |what: String| Error::new(format!("not a static library: {what}")).file(archive);
    let bytes = std::fs::read(archive).map_err(|e| Error::io("read", archive, &e))?;
    let file = ArchiveFile::parse(bytes.as_slice()).map_err(|e| bad(e.to_string()))?;
    let (mut text, mut constants) = (0, 0);
    for member in file.members() {
        let member = member.map_err(|e| bad(e.to_string()))?;
        if !member.name().starts_with(b"secateur") {
            continue;
        }
        let data = member.data(bytes.as_slice()).map_err(|e| bad(e.to_string()))?;
        for section in object::File::parse(data).map_err(|e| bad(e.to_string()))?.sections() {
            match section.kind() {
                SectionKind::Text => text += section.size(),
                SectionKind::ReadOnlyData | SectionKind::ReadOnlyString => constants += section.size(),
                _ => {}
            }
        }
    }
    if text == 0 {
        return Err(bad("it has no code".to_owned()));
    }
    Ok((text, constants))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_names_cannot_leave_their_string() {
        assert_eq!(escaped("traffic light"), "traffic light");
        assert_eq!(escaped("a\"; system(\"x\\n??/"), "a\\042\\073 system\\050\\042x\\134n\\077\\077\\057");
        assert_eq!(escaped("é1"), "\\303\\2511");
    }

    #[test]
    fn arrays_have_every_byte() {
        let text = array("uint8_t a[41]", &[7; 41]);
        assert_eq!(text.matches("7,").count(), 41);
        assert!(text.starts_with("const uint8_t a[41] = {\n") && text.ends_with("};\n"));
    }
}
