//! Frames: from bytes and to bytes, whatever pieces the bytes come in.
//!
//! Section 2.2 and 2.6 of the SPDY/3.1 draft. A control frame is read whole, and so bounded; the data of a DATA frame is
//! passed on as it comes, so its length is of no matter. Frames that are about flow control or settings are skipped.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use super::headers::{Deflater, Headers, Inflater};

/// Longest control frame in bytes, without its head.
const LONGEST: usize = 64 * 1024;
/// Bytes that a frame begins with.
const HEAD: usize = 8;
/// The bit of a frame's first byte that says that it is a control frame.
const CONTROL: u8 = 0x80;
/// The bits of a number that are a stream's.
const STREAM: u32 = 0x7fff_ffff;
/// The sender sends no more on this stream.
const FIN: u8 = 1;
/// The version in control frames; 3.1 has the same as 3.
const VERSION: u16 = 3;

/// Why a connection cannot go on: what came is not SPDY as agreed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A header block is not one.
    #[error("a SPDY header block is {0}")]
    Headers(&'static str),
    /// A frame of another version.
    #[error("SPDY version {0} instead of 3")]
    Version(u16),
    /// A frame is too long, or too short for what it is.
    #[error("a SPDY control frame of type {0} with {1} bytes")]
    Length(u16, usize),
}

/// Why a stream is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Refusal {
    /// Its number makes no sense.
    Protocol = 1,
    /// There are too many.
    Refused = 3,
    /// Nobody needs it any more.
    Cancel = 5,
}

/// One frame, or a piece of one that carries data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Opens a stream.
    Open {
        /// Its number; odd if the client opens it.
        id: u32,
        /// The opener sends nothing on it.
        fin: bool,
        /// What it is for.
        headers: Headers,
    },
    /// Accepts a stream.
    Accept {
        /// Its number.
        id: u32,
    },
    /// Data on a stream.
    Data {
        /// The stream's number.
        id: u32,
        /// It is the sender's last.
        fin: bool,
        /// May be empty.
        data: Bytes,
    },
    /// Gives a stream up.
    Reset {
        /// Its number.
        id: u32,
        /// The reason, as the draft numbers them.
        status: u32,
    },
    /// Is to be sent back by the side that did not choose its number.
    Ping(u32),
    /// No more streams will be accepted.
    GoAway,
}

/// Writes the frames of a connection.
#[derive(Debug, Default)]
pub struct Encoder(Deflater);

impl Encoder {
    /// Appends a frame to `out`.
    pub fn write(&mut self, frame: &Frame, out: &mut BytesMut) -> Result<(), FrameError> {
        let flag = |fin: bool| u8::from(fin) * FIN;
        match frame {
            Frame::Open { id, fin, headers } => {
                let block = self.0.write(headers)?;
                control(out, 1, flag(*fin), block.len() + 10)?;
                out.put_u32(*id);
                // Neither associated to another stream, nor of any priority.
                out.put_bytes(0, 6);
                out.put_slice(&block);
            }
            Frame::Accept { id } => {
                let block = self.0.write(&Headers::default())?;
                control(out, 2, 0, block.len() + 4)?;
                out.put_u32(*id);
                out.put_slice(&block);
            }
            Frame::Data { id, fin, data } => {
                for (piece, is_last) in pieces(data) {
                    out.put_u32(*id);
                    out.put_u8(flag(*fin && is_last));
                    out.put_uint(piece.len() as u64, 3);
                    out.put_slice(piece);
                }
            }
            Frame::Reset { id, status } => {
                control(out, 3, 0, 8)?;
                out.put_u32(*id);
                out.put_u32(*status);
            }
            Frame::Ping(id) => {
                control(out, 6, 0, 4)?;
                out.put_u32(*id);
            }
            Frame::GoAway => {
                control(out, 7, 0, 8)?;
                // The last stream that was accepted does not matter: none is repeated elsewhere.
                out.put_u64(0);
            }
        }
        Ok(())
    }
}

fn control(out: &mut BytesMut, kind: u16, flags: u8, length: usize) -> Result<(), FrameError> {
    if length > LONGEST {
        return Err(FrameError::Length(kind, length));
    }
    out.put_u16(0x8000 | VERSION);
    out.put_u16(kind);
    out.put_u8(flags);
    out.put_uint(length as u64, 3);
    Ok(())
}

/// Data in pieces that fit a frame, and whether each is the last; one empty piece of no data.
fn pieces(data: &[u8]) -> impl Iterator<Item = (&[u8], bool)> {
    let count = data.len().div_ceil(LONGEST).max(1);
    (0..count).map(move |piece| {
        let end = data.len().min((piece + 1) * LONGEST);
        (
            data.get(piece * LONGEST..end).unwrap_or_default(),
            piece + 1 == count,
        )
    })
}

/// Reads the frames of a connection.
#[derive(Debug, Default)]
pub struct Decoder {
    input: BytesMut,
    headers: Inflater,
    /// A DATA frame that has not come whole: its stream, whether it is the last, and how many bytes are to come.
    unfinished: Option<(u32, bool, usize)>,
}

impl Decoder {
    /// Takes what has come.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// The next frame, or piece of one, that has come.
    pub fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        loop {
            if let Some((id, fin, left)) = self.unfinished {
                return Ok(self.data(id, fin, left));
            }
            let Some(head) = self.input.first_chunk::<HEAD>().copied() else {
                return Ok(None);
            };
            let length = (&head[5..]).get_uint(3);
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            if head[0] & CONTROL == 0 {
                self.input.advance(HEAD);
                let id = (&head[..]).get_u32();
                self.unfinished = Some((id, head[4] & FIN != 0, length));
                continue;
            }
            let (version, kind) = ((&head[..]).get_u16() & 0x7fff, (&head[2..]).get_u16());
            if version != VERSION {
                return Err(FrameError::Version(version));
            }
            if length > LONGEST {
                return Err(FrameError::Length(kind, length));
            }
            if self.input.len() < HEAD + length {
                return Ok(None);
            }
            self.input.advance(HEAD);
            let body = self.input.split_to(length);
            if let Some(frame) = self.control(kind, head[4], &body)? {
                return Ok(Some(frame));
            }
        }
    }

    fn data(&mut self, id: u32, fin: bool, left: usize) -> Option<Frame> {
        let take = left.min(self.input.len());
        if take == 0 && left > 0 {
            return None;
        }
        let left = left - take;
        self.unfinished = (left > 0).then_some((id, fin, left));
        Some(Frame::Data {
            id,
            fin: fin && left == 0,
            data: self.input.split_to(take).freeze(),
        })
    }

    fn control(&mut self, kind: u16, flags: u8, body: &[u8]) -> Result<Option<Frame>, FrameError> {
        let least = match kind {
            1 => 10,
            3 | 7 => 8,
            2 | 6 | 8 => 4,
            // Settings and windows, which nobody here keeps to, and what is not in the draft.
            _ => return Ok(None),
        };
        let (mut fixed, rest) = body
            .split_at_checked(least)
            .ok_or(FrameError::Length(kind, body.len()))?;
        let number = fixed.get_u32();
        let id = number & STREAM;
        Ok(Some(match kind {
            1 => Frame::Open {
                id,
                fin: flags & FIN != 0,
                headers: self.headers.read(rest)?,
            },
            3 => Frame::Reset {
                id,
                status: fixed.get_u32(),
            },
            6 => Frame::Ping(number),
            7 => Frame::GoAway,
            // Replies and further headers say nothing of interest; but all blocks are compressed as one.
            _ => {
                self.headers.read(rest)?;
                if kind == 8 {
                    return Ok(None);
                }
                Frame::Accept { id }
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(frames: &[Frame]) -> BytesMut {
        let (mut encoder, mut out) = (Encoder::default(), BytesMut::new());
        for frame in frames {
            encoder.write(frame, &mut out).unwrap();
        }
        out
    }

    /// All frames in `bytes`, fed in pieces of `step`; data that belongs together put together.
    fn decode(bytes: &[u8], step: usize) -> Result<Vec<Frame>, FrameError> {
        let mut decoder = Decoder::default();
        let mut frames: Vec<Frame> = Vec::new();
        for piece in bytes.chunks(step.max(1)) {
            decoder.feed(piece);
            while let Some(frame) = decoder.next()? {
                match (frames.last_mut(), frame) {
                    (
                        Some(Frame::Data {
                            id,
                            fin: fin @ false,
                            data,
                        }),
                        Frame::Data {
                            id: same,
                            fin: last,
                            data: more,
                        },
                    ) if *id == same => {
                        *data = [data.clone(), more].concat().into();
                        *fin = last;
                    }
                    (_, frame) => frames.push(frame),
                }
            }
        }
        Ok(frames)
    }

    #[test]
    fn frames_are_as_in_the_draft() {
        let data = Frame::Data {
            id: 1,
            fin: true,
            data: "hi".into(),
        };
        assert_eq!(&encode(&[data])[..], b"\0\0\0\x01\x01\0\0\x02hi");
        assert_eq!(
            &encode(&[Frame::Ping(7)])[..],
            b"\x80\x03\0\x06\0\0\0\x04\0\0\0\x07"
        );
        let reset = Frame::Reset { id: 3, status: 5 };
        assert_eq!(
            &encode(&[reset])[..],
            b"\x80\x03\0\x03\0\0\0\x08\0\0\0\x03\0\0\0\x05"
        );
        let reply = encode(&[Frame::Accept { id: 1 }]);
        assert_eq!(&reply[..4], b"\x80\x03\0\x02");
        // zlib's head, which says that there is a dictionary, and the dictionary's sum.
        assert_eq!((reply[12], reply[13] & 0x20), (0x78, 0x20));
        assert_eq!(&reply[14..18], b"\xe3\xc6\xa7\xc2");
    }

    #[test]
    fn what_go_sends_is_read() {
        // Opens a stream with the headers streamtype: error, port: 80, requestid: 0; compressed by zlib at its best.
        let opened = b"\x80\x03\x00\x01\x00\x00\x00\x3c\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x78\xf9\xe3\xc6\xa7\xc2\
            \x02\x25\x3a\x70\x3a\x2b\x29\x4a\x4d\xcc\x85\x16\x25\xac\xa9\xa0\x80\x86\x14\xcb\x45\xa0\x24\xcc\
            \x64\x61\x00\x24\x39\x8b\x20\x91\x98\x09\x4a\xdc\x8c\x06\x00\x00\x00\x00\xff\xff";
        let frames = decode(opened, 3).unwrap();
        let Some(Frame::Open { id: 1, headers, .. }) = frames.first() else {
            panic!("{frames:?}");
        };
        assert_eq!(headers.get("streamType"), Some("error"));
        assert_eq!(headers.get("port"), Some("80"));
        assert_eq!(headers.get("requestID"), Some("0"));
    }

    #[test]
    fn what_is_not_known_is_skipped_and_what_is_wrong_refused() {
        let settings = b"\x80\x03\0\x04\0\0\0\x04\0\0\0\0";
        let update = b"\x80\x03\0\x09\0\0\0\x08\0\0\0\x01\0\0\x10\0";
        let all = [&settings[..], &update[..], &encode(&[Frame::GoAway])].concat();
        assert_eq!(decode(&all, 5), Ok(vec![Frame::GoAway]));
        assert_eq!(
            decode(b"\x80\x02\0\x06\0\0\0\x04\0\0\0\x07", 1),
            Err(FrameError::Version(2))
        );
        assert_eq!(
            decode(b"\x80\x03\0\x06\0\0\0\x01\0", 1),
            Err(FrameError::Length(6, 1))
        );
        assert_eq!(
            decode(b"\x80\x03\0\x01\0\xff\xff\xff", 8),
            Err(FrameError::Length(1, 0xff_ffff))
        );
    }

    fn any_frame() -> impl Strategy<Value = Frame> {
        let id = 1..=STREAM;
        let headers = prop::collection::vec(("[a-z]{1,9}", "[ -~]{0,40}"), 0..5).prop_map(Headers);
        prop_oneof![
            (id.clone(), any::<bool>(), headers).prop_map(|(id, fin, headers)| Frame::Open {
                id,
                fin,
                headers
            }),
            id.clone().prop_map(|id| Frame::Accept { id }),
            (id.clone(), prop::collection::vec(any::<u8>(), 0..300)).prop_map(|(id, data)| Frame::Data {
                id,
                // Two that follow each other stay apart.
                fin: true,
                data: data.into(),
            }),
            (id, any::<u32>()).prop_map(|(id, status)| Frame::Reset { id, status }),
            any::<u32>().prop_map(Frame::Ping),
            Just(Frame::GoAway),
        ]
    }

    proptest! {
        #[test]
        fn frames_come_back_however_they_are_split(frames in prop::collection::vec(any_frame(), 0..20), step in 1usize..400) {
            prop_assert_eq!(decode(&encode(&frames), step).unwrap(), frames);
        }

        #[test]
        fn nothing_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..3000), step in 1usize..100) {
            let _ = decode(&bytes, step);
        }

        #[test]
        fn a_spoilt_byte_does_not_make_it_panic(frames in prop::collection::vec(any_frame(), 1..10), at in any::<prop::sample::Index>(), byte: u8) {
            let mut bytes = encode(&frames);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = decode(&bytes, 50);
        }
    }

    #[test]
    fn long_data_is_split_into_frames() {
        let long = Frame::Data {
            id: 5,
            fin: true,
            data: vec![7; 3 * LONGEST + 1].into(),
        };
        let bytes = encode(std::slice::from_ref(&long));
        assert_eq!(bytes.len(), 3 * LONGEST + 1 + 4 * HEAD);
        assert_eq!(decode(&bytes, 100_000), Ok(vec![long]));
    }
}
