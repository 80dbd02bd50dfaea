//! What stands at the other end of a sink: a file that a command writes, a web server, a mail server.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use avouch_tests::scratch;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A directory with a program that appends each alarm to a file, a line each.
pub struct FileSink(PathBuf);

impl FileSink {
    pub fn new() -> Self {
        Self(scratch::dir("alarms").join("alarms"))
    }

    /// Its `[[alarm]]`.
    pub fn config(&self) -> String {
        let script = format!("cat >> {0}; echo >> {0}; env >> {0}.env", self.0.display());
        format!("[[alarm]]\nname = \"file\"\ncommand = [\"sh\", \"-c\", \"{script}\"]\n")
    }

    /// What it was given.
    pub fn alarms(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.0).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Its variables.
    pub fn env(&self) -> String {
        std::fs::read_to_string(self.0.with_extension("env")).expect("it was run")
    }
}

impl Drop for FileSink {
    fn drop(&mut self) {
        let dir = self.0.parent().expect("it is in a directory");
        std::fs::remove_dir_all(dir).expect("the target directory can be written");
    }
}

/// One request or one mail: all that was said, and what of it is the alarm.
#[derive(Clone, Debug)]
pub struct Taken {
    pub said: String,
    pub body: String,
}

/// A server that remembers what it was told.
pub struct Server {
    pub port: u16,
    taken: Arc<Mutex<Vec<Taken>>>,
    _work: JoinSet<()>,
}

impl Server {
    /// A web server that gives these answers in turn, and the last one for ever.
    pub async fn web(answers: &'static [&'static str]) -> Self {
        Self::start(move |stream, place| http(stream, answers[place.min(answers.len() - 1)])).await
    }

    /// A mail server that wants a login.
    pub async fn mail() -> Self {
        Self::start(|stream, _| mail(stream)).await
    }

    async fn start<F>(serve: impl Fn(TcpStream, usize) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Taken> + Send,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let taken = Arc::new(Mutex::new(Vec::new()));
        let (mut work, books) = (JoinSet::new(), Arc::clone(&taken));
        work.spawn(async move {
            for place in 0.. {
                let (stream, _) = listener.accept().await.expect("it listens");
                let one = serve(stream, place).await;
                books.lock().expect("nobody panics").push(one);
            }
        });
        Self { port, taken, _work: work }
    }

    pub fn taken(&self) -> Vec<Taken> {
        self.taken.lock().expect("nobody panics").clone()
    }
}

/// Reads a request and answers it.
async fn http(stream: TcpStream, answer: &str) -> Taken {
    let mut stream = BufReader::new(stream);
    let (mut said, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.expect("a request has a head");
        if let Some(text) = line.to_lowercase().strip_prefix("content-length:") {
            length = text.trim().parse().expect("is a number");
        }
        if line.trim().is_empty() {
            break;
        }
        said += &line;
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.expect("a request has a body");
    let answer = format!("HTTP/1.1 {answer}\r\nlocation: /elsewhere\r\nconnection: close\r\n\r\n");
    stream.write_all(answer.as_bytes()).await.expect("it listens");
    Taken { said, body: String::from_utf8(body).expect("is UTF-8") }
}

/// Takes one mail.
async fn mail(stream: TcpStream) -> Taken {
    let mut stream = BufReader::new(stream);
    let (mut said, mut body, mut in_mail) = (String::new(), String::new(), false);
    stream.write_all(b"220 mail.test\r\n").await.expect("it listens");
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.expect("it goes on") == 0 {
            return Taken { said, body };
        }
        let word = line.trim_end();
        let answer = match word.split(' ').next().expect("there is a first one") {
            "." if in_mail => {
                in_mail = false;
                "250 taken"
            }
            _ if in_mail => {
                body += &line;
                continue;
            }
            "EHLO" => "250-mail.test\r\n250 AUTH PLAIN",
            "AUTH" => "235 welcome",
            "DATA" => {
                in_mail = true;
                "354 go on"
            }
            "QUIT" => "221 bye",
            _ => "250 fine",
        };
        said += &line;
        stream.write_all(format!("{answer}\r\n").as_bytes()).await.expect("it listens");
    }
}
