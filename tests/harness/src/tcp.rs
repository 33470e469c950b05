//! A TCP proxy that injects faults between the operator and a database. It does not interpret what it forwards.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};

/// The treatment of connections, including open ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpMode {
    /// Everything is forwarded.
    Pass,
    /// New connections are refused, and open ones are closed.
    Refuse,
    /// Connections are accepted and stay open, and nothing is forwarded.
    Hang,
    /// Each piece of a response is delayed by this duration.
    Slow(Duration),
}

#[derive(Clone, Copy)]
struct Rule {
    way: TcpMode,
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
    /// Starts a proxy for this address, which forwards everything. The server need not listen yet.
    pub async fn start(server: SocketAddr) -> Self {
        let (rule, rules) = watch::channel(Rule { way: TcpMode::Pass, cuts: 0 });
        let (end, ended) = oneshot::channel();
        let (bound, address) = oneshot::channel();
        let (listens, listening) = watch::channel(true);
        // The proxy runs on a thread of its own, because a test that waits for a process blocks its thread.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let serving = runtime.spawn(serve(server, rules, bound, listens));
            let _ = runtime.block_on(ended);
            serving.abort();
            runtime.shutdown_background();
        });
        Self { address: address.await.unwrap(), rule, listening, _end: end }
    }

    /// The address on which it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets the mode from now on.
    pub async fn set(&self, way: TcpMode) {
        self.rule.send_modify(|rule| rule.way = way);
        self.listening.clone().wait_for(|listening| *listening == (way != TcpMode::Refuse)).await.unwrap();
    }

    /// Closes the connections accepted so far. Later ones are unaffected.
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
            _ = rules.wait_for(|rule| rule.way == TcpMode::Refuse) => None,
        };
        if let Some(client) = client {
            tokio::spawn(carry(client, server, rules.clone()));
            continue;
        }
        drop(listener);
        listens.send_replace(false);
        if rules.wait_for(|rule| rule.way != TcpMode::Refuse).await.is_err() {
            return;
        }
        listener = TcpListener::bind(address).await.unwrap();
        listens.send_replace(true);
    }
}

/// Forwards one connection until one side ends it.
async fn carry(client: TcpStream, server: SocketAddr, rules: watch::Receiver<Rule>) {
    let before = rules.borrow().cuts;
    let mut changes = rules.clone();
    tokio::select! {
        _ = changes.wait_for(|rule| rule.cuts != before || rule.way == TcpMode::Refuse) => {}
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
        () = pump(answered, answers, rules, |way| if let TcpMode::Slow(by) = way { by } else { Duration::ZERO }) => {}
    }
}

/// Forwards the bytes of one side until it is closed.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut rules: watch::Receiver<Rule>,
    delay: fn(TcpMode) -> Duration,
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

/// Waits while the mode is `Hang`. Returns `None` if the proxy has ended.
async fn unless_hanging(rules: &mut watch::Receiver<Rule>) -> Option<TcpMode> {
    rules.wait_for(|rule| rule.way != TcpMode::Hang).await.ok().map(|rule| rule.way)
}
