//! The annotation `fetch`: what create-pod asks the world for before it makes the workload, to see what a host lets
//! through.
//!
//! One command a line. What comes of each is told in the pod's logs: `fetch COMMAND: OUTCOME`.

use std::fmt;
use std::str::FromStr;

use vk_provider::http::{Cause, Failure, Request};
use vk_provider::stream::{Broken, Input};
use vk_provider::upgrade::{self, Duplex, Upgraded};
use vk_provider::{Code, Error, Result, config};

/// So much of a line is read. What is longer is no answer to a `ping`.
const LONGEST_LINE: usize = 1 << 10;

/// One line of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// `GET URL`
    Get(String),
    /// `POST URL`, with an empty body.
    Post(String),
    /// `upgrade URL PROTOCOL`
    Upgrade(String, String),
    /// `connect ORIGIN`
    Connect(String),
    /// `environment NAME`
    Environment(String),
    /// `file NAME`
    File(String),
}

impl FromStr for Command {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let mut words = line.split_whitespace().map(str::to_owned);
        let (name, first, second) = (words.next(), words.next(), words.next());
        let command = match (name.as_deref(), first, second) {
            (Some("GET"), Some(url), None) => Self::Get(url),
            (Some("POST"), Some(url), None) => Self::Post(url),
            (Some("upgrade"), Some(url), Some(protocol)) => Self::Upgrade(url, protocol),
            (Some("connect"), Some(origin), None) => Self::Connect(origin),
            (Some("environment"), Some(name), None) => Self::Environment(name),
            (Some("file"), Some(name), None) => Self::File(name),
            _ => return Err(unknown(line)),
        };
        if words.next().is_none() { Ok(command) } else { Err(unknown(line)) }
    }
}

fn unknown(line: &str) -> String {
    format!(
        "{line:?} is no command; known are GET URL, POST URL, upgrade URL PROTOCOL, connect ORIGIN, environment NAME and \
         file NAME, one a line"
    )
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Get(url) => write!(f, "GET {url}"),
            Self::Post(url) => write!(f, "POST {url}"),
            Self::Upgrade(url, protocol) => write!(f, "upgrade {url} {protocol}"),
            Self::Connect(origin) => write!(f, "connect {origin}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::File(name) => write!(f, "file {name}"),
        }
    }
}

/// The commands of an annotation. Empty lines are none.
pub(crate) fn commands(text: &str) -> Result<Vec<Command>, String> {
    text.lines().filter(|line| !line.trim().is_empty()).map(str::parse).collect()
}

/// Does them in order, and returns what the logs say of them.
///
/// # Errors
/// The host wants the call to end. Of no effect: the workload is not made yet.
pub(crate) fn run(commands: &[Command]) -> Result<Vec<String>> {
    let told = |command: &Command| Ok(format!("fetch {command}: {}", command.outcome()?));
    commands.iter().map(told).collect::<Result<_>>().map_err(Error::effect_none)
}

impl Command {
    fn outcome(&self) -> Result<String> {
        match self {
            Self::Get(url) => exchange(&Request::get(url)),
            Self::Post(url) => exchange(&Request::post(url)),
            Self::Upgrade(url, protocol) => told(Request::get(url).upgrade(protocol).and_then(upgraded)),
            Self::Connect(origin) => told(upgrade::connect(origin).and_then(ping)),
            Self::Environment(name) => Ok(config::variable(name).unwrap_or_else(|| "unset".to_owned())),
            Self::File(name) => told(config::file(name).map(|content| format!("{} bytes", content.len()))),
        }
    }
}

/// Status and length of an answer, or the error code's own name.
fn exchange(request: &Request) -> Result<String> {
    match answer(request) {
        Ok((status, bytes)) => Ok(format!("{status}, {bytes} bytes")),
        Err(failure) if failure.cause == Cause::Cancelled => Err(failure.into()),
        Err(failure) => Ok(format!("error {}", failure.name())),
    }
}

/// Counted as it comes, as it may have any length.
fn answer(request: &Request) -> Result<(u16, usize), Failure> {
    let mut response = request.send()?;
    let mut bytes = 0;
    while let Some(chunk) = response.body.chunk()? {
        bytes += chunk.len();
    }
    Ok((response.status, bytes))
}

fn upgraded(upgraded: Upgraded) -> Result<String> {
    match upgraded {
        Upgraded::Switched(switched) => ping(switched.io),
        Upgraded::Refused(response) => Ok(response.status.to_string()),
    }
}

/// Says `ping` and hears one line. A plain connection, which has no status, counts as 101 too.
fn ping(mut io: Duplex) -> Result<String> {
    io.output.write(b"ping\n")?;
    Ok(format!("101, {}", line(&mut io.input)?))
}

/// The first line, or what there is of it at the end.
fn line(input: &mut Input) -> Result<String, Broken> {
    let mut line = Vec::new();
    while line.len() < LONGEST_LINE && !line.contains(&b'\n') {
        let Some(bytes) = input.read()? else { break };
        line.extend(bytes);
    }
    let end = line.iter().position(|byte| *byte == b'\n').unwrap_or(line.len());
    line.truncate(end.min(LONGEST_LINE));
    Ok(String::from_utf8_lossy(&line).into_owned())
}

/// The reason of an error stands in place of what did not come, unless it is that the call ends.
fn told(outcome: Result<String>) -> Result<String> {
    match outcome {
        Err(error) if error.code == Code::Cancelled => Err(error),
        Err(error) => Ok(format!("error {}", error.reason)),
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use vk_provider::Effect;
    use vk_provider::call::Why;
    use vk_provider::http::ErrorCode;
    use vk_provider::testing::{self, Answer, Taken};

    use super::*;

    fn outcomes(text: &str) -> Vec<String> {
        run(&commands(text).unwrap()).unwrap()
    }

    #[test]
    fn a_command_is_told_as_it_was_written() {
        let text =
            "GET http://a/\nPOST http://a/\n\n upgrade  http://a/ tcp\nconnect tcp://a:1\nenvironment A\nfile /a\n";
        let told: Vec<String> = commands(text).unwrap().iter().map(Command::to_string).collect();
        let expected = [
            "GET http://a/",
            "POST http://a/",
            "upgrade http://a/ tcp",
            "connect tcp://a:1",
            "environment A",
            "file /a",
        ];
        assert_eq!(told, expected);
        for bad in
            ["GET", "PUT http://a/", "GET http://a/ b", "upgrade http://a/", "upgrade http://a/ b c", "get http://a/"]
        {
            let why = commands(bad).unwrap_err();
            assert!(why.starts_with(&format!("{bad:?} is no command; known are GET URL, ")), "{why}");
        }
    }

    #[test]
    fn an_answer_is_its_status_and_its_length() {
        testing::reset();
        testing::serve(|asked| {
            assert!(asked.body.is_empty());
            if asked.method == "POST" {
                Answer::status(503)
            } else {
                Answer::status(200).body("hello ").body("world\n")
            }
        });
        assert_eq!(
            outcomes("GET http://a/x\nPOST http://a/"),
            ["fetch GET http://a/x: 200, 12 bytes", "fetch POST http://a/: 503, 0 bytes"]
        );
    }

    #[test]
    fn what_the_host_refuses_is_told_in_its_words() {
        testing::reset();
        assert_eq!(outcomes("GET http://a/"), ["fetch GET http://a/: error HTTP-request-denied"]);
        assert_eq!(outcomes("upgrade http://a/ tcp"), ["fetch upgrade http://a/ tcp: error NotGranted"]);
        assert_eq!(outcomes("connect tcp://a:1"), ["fetch connect tcp://a:1: error NotGranted"]);
        assert_eq!(outcomes("environment A"), ["fetch environment A: unset"]);
        assert_eq!(outcomes("file /a"), ["fetch file /a: error NotGranted"]);
        testing::serve(|_| Answer::status(200).body("12").breaks(ErrorCode::HttpResponseBodySize(None)));
        assert_eq!(outcomes("GET http://a/"), ["fetch GET http://a/: error HTTP-response-body-size"]);
    }

    #[test]
    fn what_is_granted_is_read() {
        testing::reset();
        testing::variable("REGION", "west");
        testing::file("/etc/token", b"secret");
        assert_eq!(
            outcomes("environment REGION\nfile /etc/token"),
            ["fetch environment REGION: west", "fetch file /etc/token: 6 bytes"]
        );
    }

    #[test]
    fn a_connection_is_pinged_and_answers_a_line() {
        testing::reset();
        let taken = Taken::default();
        let sent = taken.clone();
        testing::serve(move |asked| match asked.path() {
            "/no" => Answer::status(426).body("no"),
            "/silent" => Answer::status(101),
            _ => Answer::status(101).takes(&sent).then(Duration::from_secs(1), "po").body("ng\nmore\n").stays_open(),
        });
        assert_eq!(outcomes("upgrade http://a/ tcp"), ["fetch upgrade http://a/ tcp: 101, pong"]);
        assert_eq!(outcomes("connect tcp://a:1"), ["fetch connect tcp://a:1: 101, pong"]);
        assert_eq!(taken.bytes(), b"ping\nping\n");
        assert_eq!(outcomes("upgrade http://a/no tcp"), ["fetch upgrade http://a/no tcp: 426"]);
        assert_eq!(outcomes("upgrade http://a/silent tcp"), ["fetch upgrade http://a/silent tcp: 101, "]);
    }

    #[test]
    fn a_line_without_an_end_is_cut() {
        testing::reset();
        testing::serve(|_| Answer::status(101).body(vec![b'x'; 5000]).stays_open());
        let [told] = <[String; 1]>::try_from(outcomes("connect tcp://a:1")).unwrap();
        assert_eq!(told.len(), "fetch connect tcp://a:1: 101, ".len() + LONGEST_LINE);
    }

    #[test]
    fn who_waits_is_ended_with_the_call() {
        testing::reset();
        testing::serve(
            |asked| if asked.protocol.is_some() { Answer::status(101).stays_open() } else { Answer::hangs() },
        );
        testing::cancel_after(Duration::from_secs(2), Why::Deadline);
        for command in ["GET http://a/", "POST http://a/", "upgrade http://a/ tcp"] {
            let error = run(&commands(command).unwrap()).unwrap_err();
            assert_eq!((error.code, error.effect), (Code::Cancelled, Effect::None), "{command}");
        }
    }
}
