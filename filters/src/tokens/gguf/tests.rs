use proptest::prelude::*;

use super::vocabulary::Vocabulary;
use super::*;

/// A file's metadata, written entry by entry.
#[derive(Clone)]
struct Crafted {
    version: u32,
    entries: Vec<Vec<u8>>,
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

impl Crafted {
    fn new() -> Self {
        Crafted { version: 3, entries: Vec::new() }
    }

    fn entry(mut self, key: &str, kind: u32, value: &[u8]) -> Self {
        let begins = self.entries.iter().position(|entry| entry.starts_with(&text(key)));
        let entry = [&text(key)[..], &kind.to_le_bytes(), value].concat();
        match begins {
            Some(at) => self.entries[at] = entry,
            None => self.entries.push(entry),
        }
        self
    }

    fn text(self, key: &str, value: &str) -> Self {
        self.entry(key, kind::TEXT, &text(value))
    }

    fn list(self, key: &str, kind: u32, items: &[Vec<u8>]) -> Self {
        let value = [&kind.to_le_bytes()[..], &(items.len() as u64).to_le_bytes(), &items.concat()].concat();
        self.entry(key, kind::LIST, &value)
    }

    fn texts(self, key: &str, items: &[&str]) -> Self {
        let items: Vec<_> = items.iter().map(|item| text(item)).collect();
        self.list(key, kind::TEXT, &items)
    }

    fn bytes(&self) -> Vec<u8> {
        let head = [&MAGIC[..], &self.version.to_le_bytes(), &7_u64.to_le_bytes()].concat();
        [head, (self.entries.len() as u64).to_le_bytes().to_vec(), self.entries.concat()].concat()
    }

    fn read(&self) -> Result<Metadata, Error> {
        Metadata::read(&self.bytes()[..])
    }

    fn vocabulary(&self) -> Vocabulary {
        vocabulary(&self.read().unwrap()).unwrap()
    }

    fn wrong(&self) -> String {
        vocabulary(&self.read().unwrap()).err().unwrap()
    }
}

fn by_bytes() -> Crafted {
    let kinds = [3_i32, 3, 1, 1, 1, 1, 1, 1, 1, 1].map(|kind| kind.to_le_bytes().to_vec());
    Crafted::new()
        .text("general.architecture", "llama")
        .text("tokenizer.ggml.model", "gpt2")
        .text("tokenizer.ggml.pre", "smollm")
        .texts("tokenizer.ggml.tokens", &["<start>", "<end>", "h", "i", "Ġ", "1", "2", "hi", "Ġhi", "12"])
        .texts("tokenizer.ggml.merges", &["h i", "Ġ hi", "1 2"])
        .list("tokenizer.ggml.token_type", 5, &kinds)
        .entry("tokenizer.ggml.bos_token_id", 4, &0_u32.to_le_bytes())
        .entry("tokenizer.ggml.eos_token_id", 4, &1_u32.to_le_bytes())
}

fn by_pieces() -> Crafted {
    let tokens = ["<unk>", "<s>", "</s>", "<0xC3>", "<0xA9>", "▁", "h", "i", "hi", "▁hi"];
    let scores =
        [0.0_f32, 0.0, 0.0, 0.0, 0.0, -10.0, -11.0, -12.0, -1.0, -2.0].map(|score| score.to_le_bytes().to_vec());
    let kinds = [2_i32, 3, 3, 6, 6, 1, 1, 1, 1, 1].map(|kind| kind.to_le_bytes().to_vec());
    Crafted::new()
        .text("tokenizer.ggml.model", "llama")
        .texts("tokenizer.ggml.tokens", &tokens)
        .list("tokenizer.ggml.scores", kind::FLOAT, &scores)
        .list("tokenizer.ggml.token_type", 5, &kinds)
        .entry("tokenizer.ggml.bos_token_id", 4, &1_u32.to_le_bytes())
}

fn count(vocabulary: &Vocabulary, text: &str) -> usize {
    vocabulary.tokenizer.encode_fast(text, false).unwrap().len()
}

#[test]
fn tensors_are_read_behind_the_metadata() {
    let tensor = |name: &str, sizes: &[u64]| {
        let sizes_bytes: Vec<u8> = sizes.iter().flat_map(|size| size.to_le_bytes()).collect();
        [text(name), (sizes.len() as u32).to_le_bytes().to_vec(), sizes_bytes, vec![0; 12]].concat()
    };
    let mut bytes = [by_bytes().bytes(), tensor("token_embd.weight", &[64, 10]), tensor("norm", &[64])].concat();
    // Where a file says how many tensors it has.
    bytes[8..16].copy_from_slice(&2_u64.to_le_bytes());
    let (metadata, tensors) = Metadata::read_with_tensors(&bytes[..]).unwrap();
    assert_eq!(metadata.text("general.architecture"), Some("llama"));
    let expected = [("token_embd.weight", vec![64, 10]), ("norm", vec![64])];
    assert_eq!(tensors, expected.map(|(name, sizes)| Tensor { name: name.to_owned(), sizes }));
    let half = Metadata::read_with_tensors(&bytes[..bytes.len() - 1]);
    assert!(matches!(half, Err(Error::Read(_))), "{half:?}");
    bytes[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
    let many = Metadata::read_with_tensors(&bytes[..]);
    assert!(matches!(many, Err(Error::Large { .. })), "{many:?}");
}

#[test]
fn texts_are_encoded_as_the_file_says() {
    let read = by_bytes().vocabulary();
    assert_eq!(count(&read, "hi hi"), 2);
    assert_eq!(count(&read, "<start>hi<end>"), 3, "tokens that are written out are tokens");
    assert_eq!(count(&read, "hi12"), 3, "digits stand alone");
    assert_eq!((read.begin.as_deref(), read.end.as_deref()), (Some("<start>"), Some("<end>")));
    assert_eq!(read.begins, None, "its prompts begin with nothing");
    let together = by_bytes().text("tokenizer.ggml.pre", "gpt-2").vocabulary();
    assert_eq!(count(&together, "hi12"), 2, "here they do not");
    let begins = by_bytes().entry("tokenizer.ggml.add_bos_token", kind::FLAG, &[1]).vocabulary();
    assert_eq!(begins.begins.as_deref(), Some("<start>"));
}

#[test]
fn pieces_merge_by_their_scores() {
    let read = by_pieces().vocabulary();
    assert_eq!(count(&read, "hi"), 1);
    assert_eq!(count(&read, "hi hi"), 2);
    assert_eq!(count(&read, "é"), 3, "a space, and two bytes that have no piece");
    assert_eq!(read.begins.as_deref(), Some("<s>"), "as they do where a file does not say");
    let bare = by_pieces().entry("tokenizer.ggml.add_space_prefix", kind::FLAG, &[0]).vocabulary();
    assert_eq!(count(&bare, "é"), 2);
}

#[test]
fn every_way_of_cutting_can_be_compiled() {
    for name in vocabulary::names() {
        let read = by_bytes().text("tokenizer.ggml.pre", name).vocabulary();
        assert_eq!(count(&read, "hi hi"), 2, "{name}");
    }
}

#[test]
fn what_is_not_supported_is_named_with_what_is() {
    let error = by_bytes().text("tokenizer.ggml.model", "rwkv").wrong();
    assert!(error.contains("`rwkv`") && error.contains("gpt2"), "{error}");
    let error = by_bytes().text("tokenizer.ggml.pre", "next-year").wrong();
    assert!(error.contains("`next-year`") && error.contains("llama-bpe"), "{error}");
    let error = by_bytes().texts("tokenizer.ggml.merges", &["hi"]).wrong();
    assert!(error.contains("tokenizer.ggml.merges"), "{error}");
    let error = by_bytes().texts("tokenizer.ggml.merges", &["x y"]).wrong();
    assert!(error.contains("x"), "{error}");
    assert!(Crafted::new().wrong().contains("tokenizer.ggml.tokens"));
}

#[test]
fn other_versions_and_other_files_are_refused() {
    for version in [0, 1, 4, 3_u32.swap_bytes()] {
        let file = Crafted { version, ..by_bytes() };
        assert!(matches!(file.read(), Err(Error::Version(found)) if found == version));
    }
    assert!(matches!(Metadata::read(&b"GGML...."[..]), Err(Error::Magic)));
    assert!(matches!(Metadata::read(&b"GG"[..]), Err(Error::Read(_))));
}

#[test]
fn the_weights_are_never_read() {
    struct Weights;
    impl Read for Weights {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            panic!("the weights were read");
        }
    }
    let bytes = by_bytes().bytes();
    assert!(Metadata::read(bytes.chain(Weights)).is_ok());
}

impl Crafted {
    fn refused(self) -> bool {
        matches!(self.read(), Err(Error::Large { .. } | Error::Read(_) | Error::Nested | Error::Type(_)))
    }
}

#[test]
fn sizes_that_no_file_has_are_refused_before_anything_is_allocated() {
    let huge = u64::MAX.to_le_bytes();
    assert!(Crafted::new().entry("x", kind::TEXT, &huge).refused());
    for item in [0, 5, kind::FLOAT, kind::TEXT, kind::LIST, 10, kind::DOUBLE, 99] {
        let list = |items: u64| [&item.to_le_bytes()[..], &items.to_le_bytes()].concat();
        assert!(Crafted::new().entry("x", kind::LIST, &list(u64::MAX)).refused(), "a list of {item}");
        assert!(Crafted::new().entry("x", kind::LIST, &list(MOST_ITEMS)).refused(), "a list of {item} that ends");
    }
    let mut entries = Crafted::new().bytes();
    entries.truncate(entries.len() - 8);
    entries.extend_from_slice(&huge);
    assert!(matches!(Metadata::read(&entries[..]), Err(Error::Large { what: "the number of entries", .. })));
}

#[test]
fn half_of_a_file_is_an_error() {
    let bytes = by_bytes().bytes();
    for end in 0..bytes.len() {
        assert!(Metadata::read(&bytes[..end]).is_err(), "{end} bytes of {}", bytes.len());
    }
}

proptest! {
    #[test]
    fn any_bytes_are_borne(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Metadata::read(&bytes[..]);
        let _ = Metadata::read(&[&MAGIC[..], &3_u32.to_le_bytes(), &[0; 8], &bytes].concat()[..]);
    }

    #[test]
    fn a_damaged_file_is_borne(damage in prop::collection::vec((any::<usize>(), any::<u8>()), 1..8), pieces in any::<bool>()) {
        let mut bytes = if pieces { by_pieces() } else { by_bytes() }.bytes();
        for (at, byte) in damage {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        if let Ok(read) = Metadata::read(&bytes[..]).map(|metadata| vocabulary(&metadata)) {
            let _ = read.map(|read| read.tokenizer.encode_fast("hi <start> 12 é", false).map(|tokens| tokens.len()));
        }
    }
}
