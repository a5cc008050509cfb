//! The parser, and what a fuzzer's bytes mean to it. The parser's module is compiled into each target instead of being
//! made public for them: it needs nothing but `httparse`.

#[path = "../../src/datapath/http1/mod.rs"]
#[allow(dead_code, unused_imports, reason = "no target uses all of the parser")]
mod http1;

pub use http1::oracle;

/// Three places to cut, two bytes each, and the bytes to be cut.
pub fn cut(data: &[u8]) -> Option<([usize; 3], &[u8])> {
    let (head, bytes) = data.split_at_checked(6)?;
    let cuts = [0, 2, 4].map(|at| usize::from(u16::from_be_bytes([head[at], head[at + 1]])));
    Some((cuts, bytes))
}
