//! Follows HTTP/2 frames in the byte stream for one purpose: to notice an unfinished field block (RFC 9113 §4.3). The
//! frames after HEADERS may be many and slow, and hyper shows no request until they are complete.

/// RFC 9113 §3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// RFC 9113 §4.1.
const HEAD: usize = 9;
/// RFC 9113 §6.2 and §6.10.
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// The protocol and the position in it.
#[derive(Debug)]
pub(super) enum Framing {
    /// Only this many bytes of the HTTP/2 preface have arrived.
    Preface(usize),
    Http1,
    Http2(Frames),
}

#[derive(Debug, Default)]
pub(super) struct Frames {
    head: [u8; HEAD],
    /// Bytes of the frame head received.
    filled: usize,
    /// Bytes of the payload still to come.
    payload: usize,
    /// True if the current frame belongs to a field block and ends it.
    ends_block: bool,
    block: Option<OpenBlock>,
    /// The number of field blocks started.
    blocks: u64,
}

/// An unfinished field block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct OpenBlock {
    /// Its number within the connection.
    pub(super) number: u64,
    pub(super) bytes: usize,
    /// Bytes in complete frames. Their fields are decoded and stored one by one, and each may take only one byte on the
    /// wire (RFC 7541 §6.1).
    pub(super) decoded: usize,
}

impl Framing {
    pub(super) const fn new() -> Self {
        Self::Preface(0)
    }

    pub(super) fn pass(&mut self, mut bytes: &[u8]) {
        if let Self::Preface(matched) = self {
            let common = PREFACE[*matched..].iter().zip(bytes).take_while(|(expected, byte)| expected == byte).count();
            *matched += common;
            bytes = &bytes[common..];
            if *matched == PREFACE.len() {
                *self = Self::Http2(Frames::default());
            } else if !bytes.is_empty() {
                *self = Self::Http1;
            }
        }
        if let Self::Http2(frames) = self {
            frames.pass(bytes);
        }
    }

    pub(super) const fn is_http2(&self) -> bool {
        matches!(self, Self::Http2(_))
    }

    pub(super) const fn open_block(&self) -> Option<OpenBlock> {
        match self {
            Self::Http2(frames) => frames.block,
            Self::Preface(_) | Self::Http1 => None,
        }
    }
}

impl Frames {
    fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.payload > 0 {
                let taken = self.payload.min(bytes.len());
                self.payload -= taken;
                bytes = &bytes[taken..];
                if let Some(block) = &mut self.block {
                    block.bytes += taken;
                }
            } else {
                let taken = (HEAD - self.filled).min(bytes.len());
                self.head[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
                self.filled += taken;
                bytes = &bytes[taken..];
                if self.filled < HEAD {
                    return;
                }
                self.begin();
            }
            if self.payload == 0 {
                self.block = self.block.filter(|_| !self.ends_block);
                if let Some(block) = &mut self.block {
                    block.decoded = block.bytes;
                }
            }
        }
    }

    fn begin(&mut self) {
        let [a, b, c, kind, flags, ..] = self.head;
        self.filled = 0;
        self.payload = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        let is_of_block = matches!(kind, HEADERS | CONTINUATION);
        self.ends_block = is_of_block && flags & END_HEADERS != 0;
        if is_of_block {
            if self.block.is_none() {
                self.blocks += 1;
            }
            let block = self.block.get_or_insert(OpenBlock { number: self.blocks, ..OpenBlock::default() });
            // An empty frame costs its sender no payload, but its head counts.
            block.bytes += HEAD;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).expect("a small frame").to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], &vec![7; payload]].concat()
    }

    /// Total and decoded bytes of the open block, however the input is split.
    fn open_block_after(bytes: &[u8]) -> Option<(usize, usize)> {
        let mut whole = Framing::new();
        whole.pass(bytes);
        for cut in 1..14 {
            let mut framing = Framing::new();
            bytes.chunks(cut).for_each(|part| framing.pass(part));
            assert_eq!((framing.is_http2(), framing.open_block()), (whole.is_http2(), whole.open_block()), "by {cut}");
        }
        whole.open_block().map(|block| (block.bytes, block.decoded))
    }

    #[test]
    fn a_block_is_open_until_the_frame_that_ends_it_is_here() {
        let begun = [PREFACE, &frame(4, 0, 6), &frame(HEADERS, 0, 20)].concat();
        assert_eq!(open_block_after(PREFACE), None);
        assert_eq!(open_block_after(&begun), Some((29, 29)));
        let more = [&begun[..], &frame(CONTINUATION, 0, 0), &frame(CONTINUATION, 0, 10)].concat();
        assert_eq!(open_block_after(&more), Some((29 + 9 + 19, 29 + 9 + 19)));
        assert_eq!(open_block_after(&more[..more.len() - 1]), Some((29 + 9 + 18, 29 + 9)), "a frame is decoded whole");
        let ended = [&more[..], &frame(CONTINUATION, END_HEADERS, 3)].concat();
        assert_eq!(open_block_after(&ended), None);
        assert_eq!(open_block_after(&ended[..ended.len() - 1]), Some((57 + 9 + 2, 57)));
        assert_eq!(open_block_after(&[&ended[..], &frame(0, 1, 50)].concat()), None, "data is no header field");
        assert_eq!(open_block_after(&[PREFACE, &frame(HEADERS, END_HEADERS, 0)].concat()), None);
    }

    #[test]
    fn a_block_that_follows_another_in_the_same_bytes_is_another() {
        let mut framing = Framing::new();
        framing.pass(&[PREFACE, &frame(HEADERS, 0, 20)].concat());
        let first = framing.open_block().expect("it is open");
        framing.pass(&[frame(CONTINUATION, END_HEADERS, 3), frame(HEADERS, 0, 20)].concat());
        let second = framing.open_block().expect("it is open");
        assert_eq!((first.bytes, second.bytes), (29, 29));
        assert_ne!(first.number, second.number);
    }

    #[test]
    fn other_bytes_are_not_http_2() {
        let mut framing = Framing::new();
        framing.pass(b"PRI * HTTP/1.1\r\n");
        framing.pass(&[PREFACE, &frame(HEADERS, 0, 20)].concat());
        assert!(!framing.is_http2());
        assert_eq!(framing.open_block(), None);
    }
}
