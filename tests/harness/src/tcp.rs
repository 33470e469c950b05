//! What can go wrong on the way to a database, on command: a proxy that knows nothing of what it
//! passes on.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};

/// What becomes of connections, those that are open included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// All is passed on.
    Pass,
    /// Nobody listens, and what was open is closed.
    Refuse,
    /// Connections are accepted, stay open, and nothing comes through.
    Hang,
    /// What the server says comes so much later. Long answers are passed on in pieces, each of
    /// them later.
    Slow(Duration),
}

#[derive(Clone, Copy)]
struct Rule {
    way: Way,
    cuts: usize,
}

/// A running proxy. It ends with this value.
pub struct TcpProxy {
    address: SocketAddr,
    rule: watch::Sender<Rule>,
    listening: watch::Receiver<bool>,
    _end: oneshot::Sender<()>,
}

impl TcpProxy {
    /// Starts a proxy to this address, which passes everything on. Nobody needs to listen there yet.
    pub async fn start(server: SocketAddr) -> Self {
        let (rule, rules) = watch::channel(Rule { way: Way::Pass, cuts: 0 });
        let (end, ended) = oneshot::channel();
        let (bound, address) = oneshot::channel();
        let (listens, listening) = watch::channel(true);
        // On a thread of its own: a test that waits for a process must not hold it up.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let serving = runtime.spawn(serve(server, rules, bound, listens));
            let _ = runtime.block_on(ended);
            serving.abort();
            runtime.shutdown_background();
        });
        Self { address: address.await.unwrap(), rule, listening, _end: end }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on connections fare so.
    pub async fn set(&self, way: Way) {
        self.rule.send_modify(|rule| rule.way = way);
        self.listening.clone().wait_for(|listening| *listening == (way != Way::Refuse)).await.unwrap();
    }

    /// Closes the connections that it has accepted so far. Later ones are not concerned.
    pub fn cut(&self) {
        self.rule.send_modify(|rule| rule.cuts += 1);
    }
}

async fn serve(
    server: SocketAddr,
    mut rules: watch::Receiver<Rule>,
    bound: oneshot::Sender<SocketAddr>,
    listens: watch::Sender<bool>,
) {
    let mut listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    bound.send(address).unwrap();
    loop {
        let client = tokio::select! {
            accepted = listener.accept() => Some(accepted.unwrap().0),
            _ = rules.wait_for(|rule| rule.way == Way::Refuse) => None,
        };
        if let Some(client) = client {
            tokio::spawn(carry(client, server, rules.clone()));
            continue;
        }
        drop(listener);
        listens.send_replace(false);
        if rules.wait_for(|rule| rule.way != Way::Refuse).await.is_err() {
            return;
        }
        listener = TcpListener::bind(address).await.unwrap();
        listens.send_replace(true);
    }
}

/// One connection, until somebody ends it.
async fn carry(client: TcpStream, server: SocketAddr, rules: watch::Receiver<Rule>) {
    let before = rules.borrow().cuts;
    let mut changes = rules.clone();
    tokio::select! {
        _ = changes.wait_for(|rule| rule.cuts != before || rule.way == Way::Refuse) => {}
        () = pass_on(client, server, rules) => {}
    }
}

async fn pass_on(mut client: TcpStream, server: SocketAddr, mut rules: watch::Receiver<Rule>) {
    if unless_hanging(&mut rules).await.is_none() {
        return;
    }
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (asked, answers) = client.split();
    let (answered, questions) = server.split();
    tokio::select! {
        () = pump(asked, questions, rules.clone(), |_| Duration::ZERO) => {}
        () = pump(answered, answers, rules, |way| if let Way::Slow(by) = way { by } else { Duration::ZERO }) => {}
    }
}

/// Passes on what comes from one side, until that side is closed.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut rules: watch::Receiver<Rule>,
    delay: fn(Way) -> Duration,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let Some(way) = unless_hanging(&mut rules).await else { return };
        tokio::time::sleep(delay(way)).await;
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

/// Waits while all hangs. `None`: the proxy has ended.
async fn unless_hanging(rules: &mut watch::Receiver<Rule>) -> Option<Way> {
    rules.wait_for(|rule| rule.way != Way::Hang).await.ok().map(|rule| rule.way)
}
