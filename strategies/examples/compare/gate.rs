//! A TCP proxy before the database that counts writes, and can hold one back or go away.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, Notify, watch};
use tokio::task::JoinHandle;

const WRITES: [&str; 4] = ["insert", "update", "delete", "findAndModify"];

/// The moment of a crash, relative to a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    Before,
    After,
}

#[derive(Default)]
struct Board {
    writes: AtomicUsize,
    held: Notify,
    hold: Mutex<Option<(usize, When)>>,
}

/// A running proxy. It ends with this value.
pub struct Gate {
    pub address: SocketAddr,
    board: Arc<Board>,
    away: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Gate {
    pub async fn start(server: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let (address, board) = (listener.local_addr()?, Arc::new(Board::default()));
        let (away, is_away) = watch::channel(false);
        let serving = tokio::spawn(serve(listener, server, Arc::clone(&board), is_away));
        Ok(Self { address, board, away, serving })
    }

    /// The number of writes so far.
    pub fn writes(&self) -> usize {
        self.board.writes.load(Ordering::Relaxed)
    }

    /// Holds back the write of this number, counted from now on.
    pub async fn hold(&self, number: usize, when: When) {
        *self.board.hold.lock().await = Some((self.writes() + number, when));
    }

    /// Waits until the write is held back.
    pub async fn held(&self) {
        self.board.held.notified().await;
    }

    /// Holds back no further write.
    pub async fn release(&self) {
        *self.board.hold.lock().await = None;
    }

    /// Refuses connections, or accepts them again.
    pub fn set_away(&self, away: bool) {
        self.away.send_replace(away);
    }
}

async fn serve(listener: TcpListener, server: SocketAddr, board: Arc<Board>, away: watch::Receiver<bool>) {
    while let Ok((client, _)) = listener.accept().await {
        if *away.borrow() {
            continue;
        }
        let (board, mut away) = (Arc::clone(&board), away.clone());
        tokio::spawn(async move {
            let Ok(server) = TcpStream::connect(server).await else { return };
            let _ = (client.set_nodelay(true), server.set_nodelay(true));
            let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
            let swallow = Arc::new(AtomicBool::new(false));
            tokio::select! {
                _ = requests(from_client, to_server, &board, &swallow) => {}
                _ = responses(from_server, to_client, &board, &swallow) => {}
                _ = away.wait_for(|away| *away) => {}
            }
        });
    }
}

async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    board: &Board,
    swallow: &AtomicBool,
) -> std::io::Result<()> {
    loop {
        let message = message(&mut from).await?;
        if is_write(&message) {
            let number = board.writes.fetch_add(1, Ordering::Relaxed);
            let hold = board.hold.lock().await.filter(|(held, _)| *held == number).map(|(_, when)| when);
            match hold {
                Some(When::Before) => {
                    board.held.notify_one();
                    std::future::pending::<()>().await;
                }
                Some(When::After) => swallow.store(true, Ordering::SeqCst),
                None => {}
            }
        }
        to.write_all(&message).await?;
    }
}

async fn responses(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    board: &Board,
    swallow: &AtomicBool,
) -> std::io::Result<()> {
    loop {
        let message = message(&mut from).await?;
        if swallow.load(Ordering::SeqCst) {
            board.held.notify_one();
            std::future::pending::<()>().await;
        }
        to.write_all(&message).await?;
    }
}

/// A whole message of the wire protocol: its first four bytes are its length.
async fn message(from: &mut OwnedReadHalf) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length).await?;
    let rest = usize::try_from(u32::from_le_bytes(length)).unwrap_or_default().saturating_sub(4);
    let mut message = length.to_vec();
    message.resize(4 + rest, 0);
    from.read_exact(&mut message[4..]).await?;
    Ok(message)
}

/// The name of a command is the first key of the first section's document, and a collection its value. Heartbeats are
/// no writes of the job.
fn is_write(message: &[u8]) -> bool {
    const OP_MSG: [u8; 4] = 2013_u32.to_le_bytes();
    // The header, the flags, the section's kind, the document's length and the element's type.
    const NAME: usize = 16 + 4 + 1 + 4 + 1;
    const HEARTBEATS: &[u8] = b"\x0d\0\0\0coordinators\0";
    let rest = message.get(NAME..).unwrap_or_default();
    let name = rest.split(|byte| *byte == 0).next().unwrap_or_default();
    message.get(12..16) == Some(&OP_MSG[..])
        && WRITES.iter().any(|write| write.as_bytes() == name)
        && !rest.get(name.len() + 1..).is_some_and(|value| value.starts_with(HEARTBEATS))
}
