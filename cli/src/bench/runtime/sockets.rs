//! What rows are held against: bytes through a bare socket and back, and a word from one thread to another and back.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::Instant,
};

/// Bytes of an echo: about those of a small submission.
const ECHO: usize = 64;

/// The seconds of each of `n` round trips over a bare loopback socket.
pub(super) fn echo(n: usize) -> std::io::Result<Vec<f64>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let server = thread::spawn(move || -> std::io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        let mut bytes = [0; ECHO];
        while stream.read_exact(&mut bytes).is_ok() {
            stream.write_all(&bytes)?;
        }
        Ok(())
    });
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut bytes = [7; ECHO];
    let mut seconds = Vec::with_capacity(n);
    for _ in 0..n {
        let start = Instant::now();
        stream.write_all(&bytes)?;
        stream.read_exact(&mut bytes)?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    drop(stream);
    server.join().map_err(|_| std::io::Error::other("the echo server panicked"))??;
    Ok(seconds)
}

/// The seconds of each of `n` words handed to another thread and back; each waits for the other.
pub(super) fn hand_off(n: usize) -> Vec<f64> {
    let (ask, asked) = mpsc::channel::<u64>();
    let (answer, answered) = mpsc::channel::<u64>();
    let other = thread::spawn(move || asked.iter().try_for_each(|word| answer.send(word)));
    let mut seconds = Vec::with_capacity(n);
    for word in 0..n as u64 {
        let start = Instant::now();
        // The other thread ends only when `ask` is gone.
        let _ = ask.send(word);
        let _ = answered.recv();
        seconds.push(start.elapsed().as_secs_f64());
    }
    drop(ask);
    let _ = other.join();
    seconds
}
