//! The annotation `fetch`: what create-pod asks the world for before it makes the workload, to see what a host lets
//! through.
//!
//! One command a line. What comes of each is told in the pod's logs: `fetch COMMAND: OUTCOME`. Where it is required, the first one that
//! fails is the answer of the call.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use vk_provider::http::{Failure, Request, Response};
use vk_provider::stream::{Broken, Input};
use vk_provider::upgrade::{self, Duplex, Upgraded};
use vk_provider::{Error, Result, call, config};

/// So much of a line is read. What is longer is no answer to a `ping`.
const LONGEST_LINE: usize = 1 << 10;
/// How often `follow` is sent on.
const MOST_REDIRECTS: usize = 5;

/// One line of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// `GET URL`
    Get(String),
    /// `POST URL`, with an empty body.
    Post(String),
    /// `follow URL`: as `GET`, and on to where the answer says.
    Follow(String),
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
            (Some("follow"), Some(url), None) => Self::Follow(url),
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
        "{line:?} is no command; known are GET URL, POST URL, follow URL, upgrade URL PROTOCOL, connect ORIGIN, \
         environment NAME and file NAME, one a line"
    )
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Get(url) => write!(f, "GET {url}"),
            Self::Post(url) => write!(f, "POST {url}"),
            Self::Follow(url) => write!(f, "follow {url}"),
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

/// A command that failed.
struct Failed {
    /// Its name in the logs.
    name: Cow<'static, str>,
    error: Error,
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        Self { name: failure.name().into(), error: failure.into() }
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { name: error.reason.clone(), error }
    }
}

impl From<Broken> for Failed {
    fn from(broken: Broken) -> Self {
        Error::from(broken).into()
    }
}

/// Does them in order, and returns what the logs say of them.
///
/// # Errors
/// The host wants the call to end, or one failed that is `required`. Of no effect: the workload is not made yet.
pub(crate) fn run(commands: &[Command], required: bool) -> Result<Vec<String>> {
    commands.iter().map(|command| command.told(required)).collect::<Result<_>>().map_err(Error::effect_none)
}

impl Command {
    fn told(&self, required: bool) -> Result<String> {
        match self.outcome() {
            Ok(outcome) => Ok(format!("fetch {self}: {outcome}")),
            Err(Failed { error, .. }) if required || call::cancelled() => Err(error),
            Err(Failed { name, .. }) => Ok(format!("fetch {self}: error {name}")),
        }
    }

    fn outcome(&self) -> Result<String, Failed> {
        match self {
            Self::Get(url) => answer(Request::get(url).send()?),
            Self::Post(url) => answer(Request::post(url).send()?),
            Self::Follow(url) => follow(url),
            Self::Upgrade(url, protocol) => upgraded(Request::get(url).upgrade(protocol)?),
            Self::Connect(origin) => ping(upgrade::connect(origin)?),
            Self::Environment(name) => Ok(config::variable(name).unwrap_or_else(|| "unset".to_owned())),
            Self::File(name) => Ok(format!("{} bytes", config::file(name)?.len())),
        }
    }
}

/// Status and length, counted as it comes: it may have any length.
fn answer(mut response: Response) -> Result<String, Failed> {
    let mut bytes = 0;
    while let Some(chunk) = response.body.chunk()? {
        bytes += chunk.len();
    }
    Ok(format!("{}, {bytes} bytes", response.status))
}

/// Asks again where an answer says, which no host does by itself.
fn follow(url: &str) -> Result<String, Failed> {
    let mut response = Request::get(url).send()?;
    for _ in 0..MOST_REDIRECTS {
        let Some(next) = location(&response) else { break };
        response = Request::get(next).send()?;
    }
    answer(response)
}

/// Where a redirect leads.
fn location(response: &Response) -> Option<String> {
    let leads = matches!(response.status, 300..=399);
    response.headers.get("location").filter(|_| leads).map(str::to_owned)
}

fn upgraded(upgraded: Upgraded) -> Result<String, Failed> {
    match upgraded {
        Upgraded::Switched(switched) => ping(switched.io),
        Upgraded::Refused(response) => Ok(response.status.to_string()),
    }
}

/// Says `ping` and hears one line. A plain connection, which has no status, counts as 101 too.
fn ping(mut io: Duplex) -> Result<String, Failed> {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use vk_provider::Code;
    use vk_provider::Effect;
    use vk_provider::call::Why;
    use vk_provider::http::ErrorCode;
    use vk_provider::testing::{self, Answer, Taken};

    use super::*;

    fn outcomes(text: &str) -> Vec<String> {
        run(&commands(text).unwrap(), false).unwrap()
    }

    fn refusal(text: &str) -> Error {
        run(&commands(text).unwrap(), true).unwrap_err()
    }

    #[test]
    fn a_command_is_told_as_it_was_written() {
        let text = "GET http://a/\nPOST http://a/\n\nfollow http://a/\n upgrade  http://a/ tcp\nconnect tcp://a:1\n\
                    environment A\nfile /a\n";
        let told: Vec<String> = commands(text).unwrap().iter().map(Command::to_string).collect();
        let expected = [
            "GET http://a/",
            "POST http://a/",
            "follow http://a/",
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
    fn what_is_required_and_fails_is_the_answer_of_the_call() {
        testing::reset();
        for (command, reason, code) in [
            ("GET http://a/", "HTTPRequestDenied", Code::PermissionDenied),
            ("environment A\nPOST http://a/", "HTTPRequestDenied", Code::PermissionDenied),
            ("connect tcp://a:1", "NotGranted", Code::PermissionDenied),
            ("file /a", "NotGranted", Code::PermissionDenied),
        ] {
            let error = refusal(command);
            assert_eq!((&*error.reason, error.code, error.effect), (reason, code, Effect::None), "{command}");
        }
        testing::serve(|_| Answer::status(200).body("12").breaks(ErrorCode::HttpResponseBodySize(Some(9))));
        let told = refusal("GET http://a/").to_string();
        assert_eq!(told, "HTTPResponseBodySize: GET http://a/: HTTP-response-body-size (9 bytes)");
        testing::serve(|_| Answer::status(503));
        let commands = commands("GET http://a/").unwrap();
        assert_eq!(run(&commands, true).unwrap(), ["fetch GET http://a/: 503, 0 bytes"], "an answer is no failure");
    }

    #[test]
    fn where_an_answer_sends_is_asked_too() {
        testing::reset();
        testing::serve(|asked| match asked.path() {
            "/first" => Answer::status(307).header("location", "http://b/second"),
            "/second" => Answer::status(200).header("location", "http://b/ignored").body("hello"),
            _ => Answer::status(302).header("location", "http://a/round"),
        });
        assert_eq!(outcomes("follow http://a/first"), ["fetch follow http://a/first: 200, 5 bytes"]);
        assert_eq!(outcomes("follow http://a/round"), ["fetch follow http://a/round: 302, 0 bytes"], "not for ever");
        assert_eq!(outcomes("GET http://a/first"), ["fetch GET http://a/first: 307, 0 bytes"]);
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
            let error = run(&commands(command).unwrap(), false).unwrap_err();
            assert_eq!((error.code, error.effect), (Code::DeadlineExceeded, Effect::None), "{command}");
        }
    }
}
