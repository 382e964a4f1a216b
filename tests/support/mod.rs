//! Runs the built worker in workerd, the runtime that serves it in production, and speaks HTTP to
//! it.
//!
//! Every [`Runtime`] has processes, a port and a data folder of its own, so any number of them run
//! side by side, and all of that is gone when it is dropped. When the test fails, the log of its
//! runtime is shown with the failure.

// Each file of tests is a crate of its own and uses its own part of this.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rustix::net::sockopt::set_socket_linger;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tempfile::TempDir;
use ureq::Agent;
use ureq::http::{HeaderMap, Request};

/// `TRANSACTION_KEYS` of every runtime, unless the test sets others.
pub const TRANSACTION_KEYS: &str =
    "1:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
/// `ADMIN_TOKEN` of every runtime, unless the test sets another.
pub const ADMIN_TOKEN: &str = "token-of-the-tests";

/// A runtime starts in under a second, but not on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(30);
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// A raw request that is answered at all is answered at once; longer waits are for a connection
/// that the runtime keeps open.
const RAW_TIMEOUT: Duration = Duration::from_secs(2);
/// A line of the worker's log takes two pipes from workerd to the file.
const LOG_DELAY: Duration = Duration::from_millis(100);
const POLL: Duration = Duration::from_millis(10);

/// What a runtime is started with. The default is what a deployment has, and the demo network.
pub struct Options {
    /// The worker's variables and secrets, by name.
    pub vars: BTreeMap<&'static str, String>,
    network: Option<String>,
    script: &'static str,
}

impl Default for Options {
    fn default() -> Self {
        let empty = Self {
            vars: BTreeMap::new(),
            network: Some(include_str!("../../demo/network.json").to_owned()),
            script: "tests/support/runtime.mjs",
        };
        empty
            .with("TRANSACTION_KEYS", TRANSACTION_KEYS)
            .with("ADMIN_TOKEN", ADMIN_TOKEN)
    }
}

impl Options {
    /// Sets a variable or secret.
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.vars.insert(name, value.to_owned());
        self
    }

    /// Leaves a variable or secret unset.
    pub fn without(mut self, name: &str) -> Self {
        self.vars.remove(name);
        self
    }

    /// Starts with another network than the demo's.
    pub fn with_network(mut self, json: String) -> Self {
        self.network = Some(json);
        self
    }

    /// Starts with a KV namespace that misbehaves as [`Runtime::set_kv`] tells it.
    pub fn lagging(mut self) -> Self {
        self.script = "tests/support/lagging.mjs";
        self
    }

    /// Starts with the baselines of the bench beside it.
    pub fn beside_its_twin(mut self) -> Self {
        self.script = "bench/serve.mjs";
        self
    }

    /// Starts with nothing in KV.
    pub fn without_network(mut self) -> Self {
        self.network = None;
        self
    }

    /// Starts a runtime, and returns it once it answers and the network is loaded.
    pub fn start(self) -> Runtime {
        check_that_it_is_built();
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(ANSWER_TIMEOUT))
            .build();
        let mut runtime = Runtime {
            process: spawn(&self, folder.path()),
            options: self,
            address: String::new(),
            folder,
            agent: agent.into(),
        };
        runtime.wait_until_ready("");
        if let Some(network) = &runtime.options.network {
            runtime.load(network);
        }
        runtime
    }
}

/// An answer of the worker.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// All headers.
    pub headers: HeaderMap,
    /// The body, whatever is not UTF-8 in it replaced.
    pub body: String,
}

impl Response {
    /// The value of a header, if it is there and readable.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body, as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

/// A running worker.
pub struct Runtime {
    /// What it was started with. A change takes effect with the next [`Runtime::restart`].
    pub options: Options,
    /// The script, the leader of a process group with workerd in it.
    process: Child,
    address: String,
    folder: TempDir,
    agent: Agent,
}

impl Runtime {
    /// Starts a runtime with the default [`Options`].
    pub fn start() -> Self {
        Options::default().start()
    }

    /// Stops the runtime, if it has not been killed, and starts it again on the same data, at
    /// another port. Like a crash, this does not wait for what the worker does in the background.
    pub fn restart(&mut self) {
        drop(self.process.stdin.take());
        self.wait_for_exit(Instant::now() + STOP_TIMEOUT);
        let earlier_log = self.log_so_far();
        self.process = spawn(&self.options, self.folder.path());
        self.wait_until_ready(&earlier_log);
    }

    /// Kills the runtime where it stands, as a crash of the machine would.
    /// [`Runtime::restart`] brings it back.
    pub fn kill(&self) {
        // Fails only when all of the group are gone already.
        let _ = kill_process_group(Pid::from_child(&self.process), Signal::KILL);
    }

    /// Where it listens: scheme, host and port.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sends a `GET`.
    pub fn get(&self, path: &str) -> Response {
        self.request("GET", path, &[], "")
    }

    /// Sends a request to the management API, with the network's token.
    pub fn api(&self, method: &str, path: &str, body: &str) -> Response {
        let token = self.options.vars.get("ADMIN_TOKEN");
        let bearer = format!("Bearer {}", token.map_or("", String::as_str));
        self.request(method, path, &[("Authorization", &bearer)], body)
    }

    /// Creates the advertisers, partners and offers of a JSON object with a list of each.
    pub fn load(&self, network: &str) {
        let network: serde_json::Value = serde_json::from_str(network).expect("a network");
        for kind in ["advertisers", "partners", "offers"] {
            for entity in network[kind].as_array().expect("a list") {
                let answer = self.api("POST", &format!("/api/v1/{kind}"), &entity.to_string());
                assert_eq!(answer.status, 201, "not created: {}", answer.body);
                assert_eq!(answer.json()["published"], true, "{}", answer.body);
            }
        }
    }

    /// All conversions of an offer, or all refusals, newest first.
    pub fn conversions(&self, offer: u32, refused: bool) -> Vec<serde_json::Value> {
        let path = format!("/api/v1/conversions?offer_id={offer}&limit=1000");
        let mut rows = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self.api("GET", &format!("{path}{cursor}"), "").json();
            rows.extend(page["items"].as_array().expect("a list").clone());
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        rows.retain(|row| row["code"].is_null() != refused);
        rows
    }

    /// Sends a request, the path as it is given, and follows no redirect.
    pub fn request(&self, method: &str, path: &str, headers: Headers, body: &str) -> Response {
        self.try_request(method, path, headers, body)
            .unwrap_or_else(|error| panic!("{method} {path} was not answered: {error}"))
    }

    /// Like [`Runtime::request`], for when the runtime may be killed meanwhile.
    pub fn try_request(
        &self,
        method: &str,
        path: &str,
        headers: Headers,
        body: &str,
    ) -> Result<Response, ureq::Error> {
        self.try_request_at(&self.address, method, path, headers, body)
    }

    fn try_request_at(
        &self,
        address: &str,
        method: &str,
        path: &str,
        headers: Headers,
        body: &str,
    ) -> Result<Response, ureq::Error> {
        let uri = format!("http://{address}{path}");
        let mut request = Request::builder().method(method).uri(uri);
        for &(name, value) in headers {
            request = request.header(name, value);
        }
        let mut answer = if body.is_empty() {
            self.agent.run(request.body(())?)?
        } else {
            self.agent.run(request.body(body)?)?
        };
        Ok(Response {
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            body: String::from_utf8_lossy(&answer.body_mut().read_to_vec()?).into_owned(),
        })
    }

    /// Sends bytes that need not be HTTP, and returns the bytes of the answer. With
    /// `Connection: close` among them, it comes soonest.
    pub fn raw(&self, request: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(&self.address).expect("connections are taken");
        let timeout = stream.set_read_timeout(Some(RAW_TIMEOUT));
        timeout.expect("the time-out is not zero");
        let mut answer = Vec::new();
        // The runtime may hang up before it has read or answered all of it: an answer too.
        let sent = stream.write_all(request);
        let _ = sent.and_then(|()| stream.read_to_end(&mut answer));
        answer
    }

    /// Sends a `GET`, and resets the connection after `wait`: the runtime ends a request only when it knows that nobody
    /// can read its answer.
    pub fn hang_up(&self, path: &str, wait: Duration) {
        let mut stream = TcpStream::connect(&self.address).expect("connections are taken");
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address);
        stream
            .write_all(request.as_bytes())
            .expect("requests are taken");
        thread::sleep(wait);
        set_socket_linger(&stream, Some(Duration::ZERO)).expect("a socket can be reset");
    }

    /// All that was logged since the first start, by the worker too, up to the last answer. Its
    /// lines begin with their level: `error: …`, `warn: …`, `log: …`.
    pub fn log(&self) -> String {
        thread::sleep(LOG_DELAY);
        self.log_so_far()
    }

    /// Sends a `GET` to the same program in JavaScript; see [`Options::beside_its_twin`].
    pub fn get_twin(&self, path: &str) -> Response {
        let log = self.log_so_far();
        let address = log
            .lines()
            .find_map(|line| line.strip_prefix("twin http://"));
        let address = address.expect("a runtime beside its twin");
        self.try_request_at(address, "GET", path, &[], "")
            .unwrap_or_else(|error| panic!("{path} was not answered: {error}"))
    }

    /// Tells the KV namespace of a [`Options::lagging`] runtime how to misbehave; `lagging_kv.js`
    /// has the modes.
    pub fn set_kv(&self, mode: &str) {
        let log = self.log_so_far();
        let mut lines = log.lines();
        let control = lines.find_map(|line| line.strip_prefix("control "));
        let control = control.expect("a lagging runtime");
        let answer = self.agent.put(control).send(mode);
        assert!(answer.is_ok_and(|answer| answer.status().is_success()));
    }

    /// The memory of workerd, in bytes: what the kernel counts as resident.
    pub fn memory(&self) -> u64 {
        let processes = fs::read_dir("/proc").expect("a Linux with /proc");
        let group = format!(" {} ", self.process.id());
        let statuses = processes.flatten().filter_map(|process| {
            let stat = fs::read_to_string(process.path().join("stat")).ok()?;
            // pid (comm) state parent group …
            let is_workerd = stat.contains("(workerd)") && stat.contains(&group);
            is_workerd.then(|| fs::read_to_string(process.path().join("status")).ok())?
        });
        let resident = statuses.filter_map(|status| {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("VmRSS:"))?;
            line.trim().trim_end_matches(" kB").parse::<u64>().ok()
        });
        resident.sum::<u64>() * 1024
    }

    fn log_so_far(&self) -> String {
        let bytes = fs::read(self.folder.path().join("log")).expect("the log can be read");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn wait_until_ready(&mut self, earlier_log: &str) {
        let deadline = Instant::now() + START_TIMEOUT;
        self.address = loop {
            let gone = self.has_exited() || Instant::now() > deadline;
            let log = self.log_so_far();
            let mut lines = log[earlier_log.len()..].lines();
            if let Some(address) = lines.find_map(|line| line.strip_prefix("ready http://")) {
                break address.to_owned();
            }
            assert!(!gone, "the runtime did not start");
            thread::sleep(POLL);
        };
    }

    fn wait_for_exit(&mut self, deadline: Instant) {
        while !self.has_exited() && Instant::now() < deadline {
            thread::sleep(POLL);
        }
        self.kill();
        self.process.wait().expect("a child can be waited for");
    }

    /// Whether the leader of the group has exited. It is not reaped yet, so that the group's ID
    /// can be no one else's when the group is killed.
    fn has_exited(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let status = waitid(WaitId::Pid(Pid::from_child(&self.process)), options);
        status.expect("a child can be asked for").is_some()
    }
}

impl Drop for Runtime {
    /// Leaves nothing behind. It need not be gentle: the data goes with the folder.
    fn drop(&mut self) {
        self.wait_for_exit(Instant::now());
        if thread::panicking() {
            eprintln!("The log of the runtime:\n{}", self.log_so_far());
        }
    }
}

/// Names and values of headers.
pub type Headers<'a> = &'a [(&'a str, &'a str)];

fn spawn(options: &Options, folder: &Path) -> Child {
    let mut log = File::options();
    let log = log.create(true).append(true).open(folder.join("log"));
    let log = log.expect("the log can be made");
    Command::new(in_repository("node_modules/.bin/node"))
        .arg(in_repository(options.script))
        .arg(folder.join("data"))
        .arg(serde_json::to_string(&options.vars).expect("they are plain strings"))
        .env("TMPDIR", folder)
        .stdin(Stdio::piped())
        .stdout(log.try_clone().expect("a file has more than one handle"))
        .stderr(log)
        .process_group(0)
        .spawn()
        .expect("node can be started")
}

fn check_that_it_is_built() {
    let node = in_repository("node_modules/.bin/node");
    assert!(
        node.exists(),
        "node_modules/ is missing: run `npm run setup`"
    );
    let built = modified(&in_repository("build/index_bg.wasm"));
    let fresh = built >= modified(&in_repository("src"));
    assert!(
        fresh,
        "build/ is missing or older than src/: run `npm run build`"
    );
}

/// When a file was last modified, or the newest file in a folder; `None` if there is none.
fn modified(path: &Path) -> Option<SystemTime> {
    if !path.is_dir() {
        return path.metadata().and_then(|file| file.modified()).ok();
    }
    let files = fs::read_dir(path).expect("the folder can be read");
    files
        .flatten()
        .filter_map(|file| modified(&file.path()))
        .max()
}

fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
