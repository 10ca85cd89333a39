//! Chromium by its driver, over W3C WebDriver on the loopback interface.

use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};

/// A browser with one window. It ends, with all that it left, when this is dropped.
pub struct Browser {
    driver: Child,
    session: String,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts Chromium; says by the test's name why not, where it is not installed.
    pub fn start(test: &str) -> Option<Browser> {
        for program in ["chromium", "chromedriver"] {
            if !has(program) {
                eprintln!(
                    "skipped: {test}: {program} was not found; scripts/setup installs chromium and chromium-driver"
                );
                return None;
            }
        }
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port: u16 = loop {
            let line = lines.next().expect("chromedriver says its port").unwrap();
            if let Some((_, rest)) = line.split_once("started successfully on port ") {
                break rest.trim_end_matches('.').parse().unwrap();
            }
        };
        // Whoever writes must have a reader, to its end.
        std::thread::spawn(move || lines.for_each(drop));
        let profile = tempfile::tempdir().unwrap();
        let args = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--force-device-scale-factor=1",
            &format!("--user-data-dir={}", profile.path().display()),
        ];
        let options = json!({ "args": args });
        let root = format!("http://127.0.0.1:{port}/session");
        let wanted = json!({"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}});
        let mut browser = Browser {
            driver,
            session: root.clone(),
            _profile: profile,
        };
        let started = browser.post("", wanted);
        browser.session = format!("{root}/{}", started["sessionId"].as_str().unwrap());
        Some(browser)
    }

    fn post(&self, path: &str, body: Value) -> Value {
        let url = format!("{}{path}", self.session);
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .build()
            .into();
        let sent = agent
            .post(&url)
            .content_type("application/json")
            .send(body.to_string());
        let text = sent.and_then(|mut answer| answer.body_mut().read_to_string());
        let answer: Value =
            serde_json::from_str(&text.unwrap_or_else(|error| panic!("{url}: {error}"))).unwrap();
        let value = answer["value"].clone();
        assert!(value.get("error").is_none(), "{path} {body}: {value}");
        value
    }

    pub fn open(&self, url: &str) {
        // The same page with another fragment would only scroll.
        self.post("/url", json!({"url": "about:blank"}));
        self.post("/url", json!({ "url": url }));
    }

    /// Runs a script and gives what it returns.
    pub fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", json!({"script": script, "args": []}))
    }

    /// Waits until what the page has put off until later is done.
    pub fn settle(&self) {
        self.post(
            "/execute/async",
            json!({"script": "setTimeout(arguments[0])", "args": []}),
        );
    }

    pub fn resize(&self, width: u32, height: u32) {
        let size =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", size);
    }

    /// `light` or `dark`, as a reader's system asks for.
    pub fn colours(&self, scheme: &str) {
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.devtools("Emulation.setEmulatedMedia", features);
    }

    pub fn scripts(&self, on: bool) {
        self.devtools(
            "Emulation.setScriptExecutionDisabled",
            json!({"value": !on}),
        );
    }

    fn devtools(&self, command: &str, parameters: Value) {
        self.post(
            "/goog/cdp/execute",
            json!({"cmd": command, "params": parameters}),
        );
    }

    fn element(&self, selector: &str) -> String {
        let found = self.post(
            "/element",
            json!({"using": "css selector", "value": selector}),
        );
        let ids = found.as_object().unwrap().values();
        ids.map(|id| id.as_str().unwrap().to_owned())
            .next()
            .unwrap()
    }

    pub fn click(&self, selector: &str) {
        let path = format!("/element/{}/click", self.element(selector));
        self.post(&path, json!({}));
    }

    pub fn type_into(&self, selector: &str, text: &str) {
        let path = format!("/element/{}/value", self.element(selector));
        self.post(&path, json!({ "text": text }));
    }

    /// Chooses an option of a list by its value.
    pub fn choose(&self, selector: &str, value: &str) {
        self.click(&format!("{selector} option[value='{value}']"));
    }

    /// Presses keys where the focus is.
    pub fn keys(&self, keys: &str) {
        let presses = keys.chars().flat_map(|key| {
            ["keyDown", "keyUp"].map(|kind| json!({"type": kind, "value": key.to_string()}))
        });
        let presses: Vec<Value> = presses.collect();
        self.post(
            "/actions",
            json!({"actions": [{"type": "key", "id": "keys", "actions": presses}]}),
        );
    }

    /// Leaves a picture in LOOK_AT_PAGES, where that is set.
    pub fn picture(&self, name: &str) {
        let Some(dir) = std::env::var_os("LOOK_AT_PAGES") else {
            return;
        };
        let script = "return [document.documentElement.scrollHeight]";
        let _ = self.run(script);
        let answer = ureq::get(&format!("{}/screenshot", self.session)).call();
        let text = answer
            .and_then(|mut answer| answer.body_mut().read_to_string())
            .unwrap();
        let answer: Value = serde_json::from_str(&text).unwrap();
        let path = PathBuf::from(dir).join(format!("{name}.png.base64"));
        std::fs::write(path, answer["value"].as_str().unwrap()).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ends Chromium; the driver's own end does not always.
        let _ = ureq::delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}
