//! The connection against a client that speaks frames.

use tokio_util::sync::PollSender;

use super::super::stream::Reset;
use super::*;

/// A client that speaks frames.
struct Client {
    out: mpsc::Sender<Bytes>,
    input: mpsc::Receiver<Bytes>,
    encoder: Encoder,
    decoder: Decoder,
}

fn connect() -> (Client, Connection) {
    let (out, theirs) = mpsc::channel(4);
    let (to_client, input) = mpsc::channel(4);
    let stream = futures::stream::unfold(theirs, |mut theirs| async {
        let bytes: Bytes = theirs.recv().await?;
        Some((Ok(bytes), theirs))
    });
    let transport = Transport {
        input: stream.boxed(),
        output: Box::pin(PollSender::new(to_client).sink_map_err(io::Error::other)),
    };
    let client = Client {
        out,
        input,
        encoder: Encoder::default(),
        decoder: Decoder::default(),
    };
    (client, Connection::new(transport))
}

impl Client {
    async fn send(&mut self, frame: Frame) {
        let mut bytes = BytesMut::new();
        self.encoder.write(&frame, &mut bytes).unwrap();
        self.out.send(bytes.freeze()).await.unwrap();
    }

    async fn open(&mut self, id: u32) {
        let headers = Headers(vec![("streamtype".into(), "data".into())]);
        self.send(Frame::Open {
            id,
            fin: false,
            headers,
        })
        .await;
    }

    async fn data(&mut self, id: u32, data: &str, fin: bool) {
        let data = Bytes::copy_from_slice(data.as_bytes());
        self.send(Frame::Data { id, fin, data }).await;
    }

    async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.decoder.next().unwrap() {
                return Some(frame);
            }
            self.decoder.feed(&self.input.recv().await?);
        }
    }
}

#[tokio::test]
async fn a_stream_goes_both_ways_and_ends_twice() {
    let (mut client, mut connection) = connect();
    client.open(1).await;
    let mut stream = connection.accept().await.unwrap();
    assert_eq!(stream.headers.get("streamType"), Some("data"));
    assert_eq!(client.next().await, Some(Frame::Accept { id: 1 }));
    client.data(1, "ping", true).await;
    assert_eq!(stream.reader.next().await, Ok(Some("ping".into())));
    assert_eq!(stream.reader.next().await, Ok(None));
    stream.writer.send("pong".into()).await.unwrap();
    stream.writer.finish().await.unwrap();
    let pong = |data: &'static str, fin| Frame::Data {
        id: 1,
        fin,
        data: data.into(),
    };
    assert_eq!(client.next().await, Some(pong("pong", false)));
    assert_eq!(client.next().await, Some(pong("", true)));
    client.send(Frame::Ping(3)).await;
    assert_eq!(client.next().await, Some(Frame::Ping(3)));
    drop(client.out);
    assert!(connection.accept().await.is_none());
}

#[tokio::test]
async fn giving_up_reaches_both_sides_even_after_the_end() {
    let (mut client, mut connection) = connect();
    client.open(1).await;
    let Stream {
        mut reader,
        mut writer,
        ..
    } = connection.accept().await.unwrap();
    client.data(1, "", true).await;
    assert_eq!(reader.next().await, Ok(None));
    client.send(Frame::Reset { id: 1, status: 5 }).await;
    writer.gone().await;
    assert_eq!(writer.send("late".into()).await, Err(Reset));
    client.open(3).await;
    let mut stream = connection.accept().await.unwrap();
    drop(client.out);
    assert_eq!(stream.reader.next().await, Err(Reset));
    stream.writer.gone().await;
}

#[tokio::test]
async fn streams_are_bounded_and_numbered_upwards() {
    let (mut client, mut connection) = connect();
    let mut held = Vec::new();
    for number in 0..=STREAMS {
        let id = u32::try_from(number).unwrap() * 2 + 1;
        client.open(id).await;
        let expected = if number < STREAMS {
            held.push(connection.accept().await.unwrap());
            Frame::Accept { id }
        } else {
            Frame::Reset { id, status: 3 }
        };
        assert_eq!(client.next().await, Some(expected));
    }
    held.pop();
    let next = u32::try_from(STREAMS).unwrap() * 2 + 3;
    client.open(next).await;
    assert_eq!(client.next().await, Some(Frame::Accept { id: next }));
    client.open(next).await;
    assert_eq!(client.next().await, Some(Frame::Reset { id: next, status: 1 }));
}

#[tokio::test]
async fn what_is_not_read_is_not_buffered() {
    let (mut client, mut connection) = connect();
    client.open(1).await;
    let mut stream = connection.accept().await.unwrap();
    let mut sent = 0usize;
    let flood = async {
        loop {
            client.data(1, "x", false).await;
            sent += 1;
        }
    };
    let limit = tokio::time::timeout(Duration::from_millis(300), flood);
    assert!(limit.await.is_err());
    assert!(sent < 2 * (BACKLOG + OUTGOING), "{sent} pieces were taken");
    for _ in 0..sent {
        assert_eq!(stream.reader.next().await, Ok(Some("x".into())));
    }
}

#[tokio::test]
async fn what_was_sent_goes_out_before_the_end() {
    let (mut client, mut connection) = connect();
    client.open(1).await;
    let mut stream = connection.accept().await.unwrap();
    stream.writer.send("last words".into()).await.unwrap();
    stream.writer.finish().await.unwrap();
    let read = async move {
        let mut frames = Vec::new();
        while let Some(frame) = client.next().await {
            frames.push(frame);
        }
        drop(client.out);
        frames
    };
    let (frames, ()) = tokio::join!(read, connection.finish());
    assert_eq!(frames.len(), 4, "{frames:?}");
    assert_eq!(frames.last(), Some(&Frame::GoAway));
}
