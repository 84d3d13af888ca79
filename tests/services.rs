//! Compose projects saved and made again for real: a recovery on an Engine that has nothing of it, and drills beside it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::Signal;
use runner_test_support::{Ended, World, docker, docker_image, not_run, try_docker};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_runner");
const CANARY: &str = "canary-of-the-password-7391";

/// Returns a tar with one file.
fn tar(name: &str, mode: u32, bytes: &[u8]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(mode);
    tar.append_data(&mut header, name, bytes).unwrap();
    tar.into_inner().unwrap()
}

/// Compiles the service, once for all tests of a process.
fn program() -> Vec<u8> {
    static MADE: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    let make = || {
        let folder = tempfile::tempdir().unwrap();
        let (source, to) = ("tests/fixtures/web_service.rs", folder.path().join("web"));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
        let made = Command::new("rustc")
            .args(["-C", "target-feature=+crt-static", "-C", "strip=symbols", "-o"])
            .args([&to, &source])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        std::fs::read(to).unwrap()
    };
    MADE.get_or_init(make).clone()
}

/// A project with a database and a web service, made without Compose but with its labels; it goes when the test ends.
struct Estate {
    project: String,
    copy: String,
    image: String,
    port: u16,
}

fn labels(project: &str, more: &[(&str, &str)]) -> Vec<String> {
    let own = [("com.docker.compose.project", project)];
    let pairs = own.iter().chain(more).map(|(label, value)| format!("--label={label}={value}"));
    pairs.collect()
}

impl Estate {
    fn new() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        if try_docker(&["version"], b"").is_err() {
            not_run("there is no Docker");
            return None;
        }
        let word = format!("rt{}x{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let (project, copy, image) = (format!("{word}shop"), format!("{word}drill"), format!("runner-test-web:{word}"));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let import = ["import", "--change", "ENTRYPOINT [\"/web\"]", "-", &image];
        try_docker(&import, &tar("web", 0o755, &program())).unwrap();
        Some(Self { project, copy, image, port })
    }

    fn name(&self, name: &str) -> String {
        format!("{}_{name}", self.project)
    }

    /// Names a volume that does not begin with the project's name.
    fn outside(&self) -> String {
        format!("ext-{}", self.project)
    }

    fn up(&self) {
        let network = self.name("default");
        let mut arguments = vec!["network".into(), "create".into(), network.clone()];
        arguments.extend(labels(&self.project, &[("com.docker.compose.network", "default")]));
        docker(&strs(&arguments));
        let mut arguments = vec!["volume".into(), "create".into(), self.name("data")];
        arguments.extend(labels(&self.project, &[("com.docker.compose.volume", "data")]));
        docker(&strs(&arguments));
        docker(&["volume", "create", &self.outside()]);
        self.fill(&self.name("data"), "v1");

        let password = format!("DB_PASSWORD={CANARY}");
        let (data, outside) = (format!("{}:/data", self.name("data")), format!("{}:/outside:ro", self.outside()));
        self.run(
            "db",
            &["-e", "GREETING=db-words", "-e", &password, "-v", &data, "-v", &outside, "--health-cmd", "none"],
        );
        let port = format!("127.0.0.1:{}:8080", self.port);
        let needs = "--label=com.docker.compose.depends_on=db:service_healthy:false";
        let other = "--label=traefik.enable=true";
        let limits =
            ["--memory", "64m", "--restart", "unless-stopped", "--cap-add", "NET_ADMIN", "--tmpfs", "/scratch"];
        let more = ["-e", "DB=db:8080", "-e", "GREETING=web-words", "-p", &port, needs, other];
        let more: Vec<&str> = more.into_iter().chain(limits).collect();
        self.run("web", &more);
        self.wait_for_web();
    }

    fn run(&self, service: &str, more: &[&str]) {
        let mut arguments: Vec<String> = ["create", "--init", "--name"].map(str::to_owned).to_vec();
        arguments.push(self.name(&format!("{service}_1")));
        arguments.extend(labels(&self.project, &[("com.docker.compose.service", service)]));
        arguments.extend(["--network".into(), self.name("default"), "--network-alias".into(), service.into()]);
        // The image has no shell, which --health-cmd would need.
        arguments.extend(more.iter().filter(|a| !matches!(**a, "--health-cmd" | "none")).map(|a| (*a).to_owned()));
        arguments.push(self.image.clone());
        docker(&strs(&arguments));
        docker(&["start", &self.name(&format!("{service}_1"))]);
    }

    fn fill(&self, volume: &str, text: &str) {
        let (holder, mount) = (format!("{volume}-holder"), format!("{volume}:/data"));
        docker(&["create", "--name", &holder, "-v", &mount, &self.image]);
        try_docker(&["cp", "-", &format!("{holder}:/data")], &tar("greeting", 0o644, text.as_bytes())).unwrap();
        docker(&["rm", &holder]);
    }

    fn wait_for_web(&self) {
        let script = format!(
            "wait_until(#{{ timeout: \"30s\", every: \"50ms\" }}, || http_get(\"http://127.0.0.1:{}/db\").body == \"db-words v1\");",
            self.port
        );
        World::new(PROGRAM).file("main.rhai", &script).run(&["main.rhai"]).expect(0);
    }

    /// Returns a world in which the project is saved, with its images and its volume.
    fn saved(&self) -> World {
        let script = format!(
            "let saved = save_services(#{{ project: \"{0}\", images: \"out/images.tar.gz\" }}, \"out/services.json\");
             check_eq(\"services\", saved.services, [\"db\", \"web\"]);
             backup_volume(\"{0}_data\", \"out/data.tar.gz\");",
            self.project
        );
        let world = World::new(PROGRAM).file("save.rhai", &script);
        let ended = world.run(&["save.rhai"]).expect(0);
        assert_no_canary(&world, &ended);
        world
    }

    /// Returns everything of the project as the Engine tells it, but for what changes by itself.
    fn seen(&self) -> Vec<String> {
        let format =
            "{{.Id}} {{json .Config}} {{json .HostConfig}} {{.State.StartedAt}} {{json .NetworkSettings.Networks}}";
        let mut seen: Vec<_> =
            ["db_1", "web_1"].iter().map(|c| docker(&["inspect", "-f", format, &self.name(c)])).collect();
        seen.push(docker(&["volume", "inspect", &self.name("data"), &self.outside()]));
        seen.push(docker(&["network", "inspect", &self.name("default")]));
        seen
    }

    fn of(&self, project: &str) -> Vec<String> {
        let label = format!("label=com.docker.compose.project={project}");
        let lists = [
            vec!["ps", "-a", "--format", "{{.Names}}"],
            vec!["volume", "ls", "--format", "{{.Name}}"],
            vec!["network", "ls", "--format", "{{.Name}}"],
        ];
        let mut found: Vec<String> = Vec::new();
        for mut list in lists {
            list.extend(["--filter", &label]);
            found.extend(docker(&list).lines().map(str::to_owned));
        }
        found.sort();
        found
    }

    /// Removes everything, as a lost machine would.
    fn lose(&self, project: &str) {
        let label = format!("label=com.docker.compose.project={project}");
        for (list, remove) in [
            (vec!["ps", "-aq"], vec!["rm", "-fv"]),
            (vec!["network", "ls", "-q"], vec!["network", "rm"]),
            (vec!["volume", "ls", "-q"], vec!["volume", "rm"]),
        ] {
            let mut list = list;
            list.extend(["--filter", &label]);
            for thing in try_docker(&list, b"").unwrap_or_default().lines() {
                let mut remove = remove.clone();
                remove.push(thing);
                let _ = try_docker(&remove, b"");
            }
        }
    }

    fn lose_all(&self) {
        self.lose(&self.project);
        let _ = try_docker(&["volume", "rm", &self.outside()], b"");
    }
}

impl Drop for Estate {
    fn drop(&mut self) {
        self.lose_all();
        self.lose(&self.copy);
        let _ = try_docker(&["rmi", "-f", &self.image], b"");
    }
}

fn strs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

fn script(world: &World, text: &str, more: &[&str]) -> Ended {
    world.write("main.rhai", text);
    let arguments: Vec<_> = ["main.rhai"].iter().chain(more).copied().collect();
    let ended = world.run(&arguments);
    assert_no_canary(world, &ended);
    ended
}

/// Looks for the password in all that was told and written, but for the file whose business it is.
fn assert_no_canary(world: &World, ended: &Ended) {
    assert!(!ended.stderr.contains(CANARY) && !ended.stdout.contains(CANARY), "{}", ended.stderr);
    for file in files(&world.path(".")) {
        let holds = String::from_utf8_lossy(&std::fs::read(&file).unwrap()).contains(CANARY);
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        assert_eq!(holds, name.ends_with("services.json"), "{}", file.display());
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).filter(|p| p.is_file()).collect()
}

/// Changes the saved project.
fn edit(world: &World, change: impl FnOnce(&mut Value)) {
    let path = world.path("out/services.json");
    let mut saved: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut saved);
    std::fs::write(&path, saved.to_string()).unwrap();
}

#[test]
fn a_drill_runs_a_copy_beside_the_project_and_touches_nothing_of_it() {
    let Some(estate) = Estate::new() else { return };
    estate.up();
    let world = estate.saved();
    use std::os::unix::fs::PermissionsExt;
    for file in ["services.json", "images.tar.gz"] {
        assert_eq!(world.path("out").join(file).metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file}");
    }
    let before = estate.seen();
    let drill = format!(
        "let made = restore_services(\"out/services.json\", #{{ project: \"{copy}\", start: false,
             volumes: #{{ \"{project}_data\": \"out/data.tar.gz\" }} }});
         check_eq(\"order\", made.map(|s| s.name), [\"db\", \"web\"]);
         check_eq(\"names\", made.map(|s| s.container), [\"{copy}_db_1\", \"{copy}_web_1\"]);
         check(\"nothing runs\", made.all(|s| !s.running));
         start_services(#{{ project: \"{copy}\", services: [\"db\"], wait: \"30s\" }});
         check(\"the database first\", !services(#{{ project: \"{copy}\", services: [\"web\"] }})[0].running);
         let web = start_services(#{{ project: \"{copy}\", wait: \"30s\" }}).filter(|s| s.name == \"web\")[0];
         check(\"another port\", web.ports[\"8080\"] != \"127.0.0.1:{port}\", web.ports[\"8080\"]);
         check(\"on this machine alone\", web.ports[\"8080\"].starts_with(\"127.0.0.1:\"));
         check_eq(\"the volume is back and the services meet\", http_get(`http://${{web.ports[\"8080\"]}}/db`).body, \"db-words v1\");",
        copy = estate.copy,
        project = estate.project,
        port = estate.port,
    );
    let dry = script(&world, &drill, &["--dry-run"]).expect(0);
    assert!(dry.stderr.contains(&format!("would make project {}", estate.copy)), "{}", dry.stderr);
    assert_eq!(estate.of(&estate.copy), Vec::<String>::new());
    script(&world, &drill, &[]).expect(0).told("goes with the run");
    assert_eq!(estate.of(&estate.copy), Vec::<String>::new(), "nothing of the copy is left");
    script(&world, &format!("{drill} throw \"broken\";"), &[]).expect(2);
    assert_eq!(estate.of(&estate.copy), Vec::<String>::new(), "nor after a failure");
    assert_eq!(estate.seen(), before, "the original is as it was");
}

#[test]
fn a_copy_has_no_labels_restarts_or_ways_of_its_own() {
    let Some(estate) = Estate::new() else { return };
    estate.up();
    let world = estate.saved();
    let make = format!("restore_services(\"out/services.json\", #{{ project: \"{}\", start: false }});", estate.copy);
    script(&world, &make, &["--keep"]).expect(0);
    let seen = docker(&["inspect", &format!("{}_web_1", estate.copy)]);
    let seen: Value = serde_json::from_str(&seen).unwrap();
    let (config, host) = (&seen[0]["Config"], &seen[0]["HostConfig"]);
    assert_eq!(config["Labels"]["traefik.enable"], Value::Null, "a router must not take it for the original");
    assert_eq!(config["Labels"]["com.docker.compose.project"], estate.copy);
    assert_eq!(host["RestartPolicy"]["Name"], "no");
    assert_eq!(host["Memory"], 64 << 20);
    assert_eq!(host["PortBindings"]["8080/tcp"][0], json!({ "HostIp": "127.0.0.1", "HostPort": "" }));
    let volumes = format!(
        "let all = volumes(#{{ prefix: \"{0}_\" }});
         check_eq(\"volumes\", all.map(|v| v.name), [\"{0}_data\", \"{0}_ext-{1}\"]);
         check(\"all are of the copy\", all.all(|v| v.project == \"{0}\"));
         check_eq(\"one that is filled afterwards\", restore_volume(\"out/data.tar.gz\", \"{0}_data\")[\"new\"], false);",
        estate.copy, estate.project
    );
    script(&world, &volumes, &[]).expect(0);
    // What is there already is in the way of the next copy.
    script(&world, &make, &[]).expect(3).told("exists already");
    script(&world, &make, &["--dry-run"]).expect(3).told("exists already");
}

#[test]
fn a_copy_that_is_offline_answers_and_lives_in_an_internal_network() {
    let Some(estate) = Estate::new() else { return };
    estate.up();
    let world = estate.saved();
    let drill = format!(
        "let made = restore_services(\"out/services.json\", #{{ project: \"{}\", offline: true, wait: \"30s\" }});
         let web = made.filter(|s| s.name == \"web\")[0];
         check(\"nothing is published\", web.ports.is_empty());
         wait_until(#{{ timeout: \"20s\", every: \"50ms\" }}, || http_get(`http://${{web.address}}:8080/`).ok);
         check_eq(\"it answers\", http_get(`http://${{web.address}}:8080/`).body, \"web-words \");",
        estate.copy
    );
    script(&world, &drill, &["--keep"]).expect(0);
    let network = format!("{}_default", estate.copy);
    assert_eq!(docker(&["network", "inspect", "-f", "{{.Internal}}", &network]), "true");
    script(&world, "restore_services(\"out/services.json\", #{ offline: true });", &[]).expect(2).told("for copies");
}

#[test]
fn an_image_whose_name_leads_elsewhere_by_now_is_taken_from_the_file() {
    let Some(estate) = Estate::new() else { return };
    estate.up();
    let world = estate.saved();
    estate.lose_all();
    docker(&["rmi", &estate.image]);
    let other = try_docker(&["import", "-", &estate.image], &tar("other", 0o644, b"another image")).unwrap();
    let make = "restore_services(\"out/services.json\", #{ start: false });";
    script(&world, make, &[]).expect(0).told("is not the one that was saved");
    estate.lose_all();
    let volumes = format!("volumes: #{{ \"{}_data\": \"out/data.tar.gz\" }}", estate.project);
    let make = format!("restore_services(\"out/services.json\", #{{ images: \"out/images.tar.gz\", {volumes} }});");
    script(&world, &make, &[]).expect(0);
    estate.wait_for_web();
    let image = docker(&["inspect", "-f", "{{.Image}}", &estate.name("web_1")]);
    assert_ne!(image, other);
    let named = docker(&["image", "inspect", "-f", "{{.Id}}", &estate.image]);
    assert_eq!(named, other, "the name leads where it led");
    estate.lose_all();
    docker(&["rmi", &image]);
}

#[test]
fn a_lost_project_comes_back_from_the_file_and_its_images_as_it_was() {
    let Some(estate) = Estate::new() else { return };
    estate.up();
    let world = estate.saved();
    let inspected = |name: &str| -> Value {
        let mut seen: Value = serde_json::from_str(&docker(&["inspect", &estate.name(name)])).unwrap();
        let (mut config, mut host) = (seen[0]["Config"].take(), seen[0]["HostConfig"].take());
        config["Hostname"] = Value::Null;
        config["Labels"].as_object_mut().unwrap().retain(|label, _| !label.starts_with("runner."));
        for bind in host["Binds"].as_array_mut().into_iter().flatten() {
            *bind = bind.as_str().unwrap().replace(":rw,nocopy", "").replace(":nocopy", "").into();
        }
        json!([config, host])
    };
    let before = [inspected("db_1"), inspected("web_1")];
    let options = format!(
        "#{{ images: \"out/images.tar.gz\", wait: \"30s\", volumes: #{{ \"{}_data\": \"out/data.tar.gz\" }} }}",
        estate.project
    );
    let recover = format!(
        "let made = restore_services(\"out/services.json\", {options}); check(\"all run\", made.all(|s| s.running));"
    );
    script(&world, &recover, &[]).expect(3).told("exists already");

    estate.lose_all();
    docker(&["rmi", &estate.image]);
    assert_eq!(estate.of(&estate.project), Vec::<String>::new());
    script(&world, "restore_services(\"out/services.json\");", &[]).expect(2).told("could not be pulled");
    assert_eq!(estate.of(&estate.project), Vec::<String>::new(), "nothing is made without its images");

    script(&world, &recover, &[]).expect(0).told("which stays");
    estate.wait_for_web();
    assert_eq!([inspected("db_1"), inspected("web_1")], before, "each setting is back");
    let names = ["data", "db_1", "default", "web_1"].map(|name| estate.name(name));
    assert_eq!(estate.of(&estate.project), names);
    World::new(PROGRAM).run(&["gc"]).expect(0);
    script(&world, "log(\"another run\");", &[]).expect(0);
    assert_eq!(estate.of(&estate.project), names, "what was recovered stays");
}

#[test]
fn a_project_comes_back_service_by_service() {
    let Some(estate) = Estate::new() else { return };
    estate.up();
    let world = estate.saved();
    let one = |project: &str, service: &str, volumes: &str| {
        format!(
            "restore_services(\"out/services.json\", #{{ {project} services: [\"{service}\"], wait: \"30s\" {volumes} }});"
        )
    };
    let (data, web) = (estate.name("data"), "http://127.0.0.1");
    let volumes = format!(", volumes: #{{ \"{data}\": \"out/data.tar.gz\" }}");
    let copy = format!("project: \"{}\",", estate.copy);
    let drill = format!(
        "{} {} let ports = services(#{{ project: \"{}\" }}).filter(|s| s.name == \"web\")[0].ports;
         check_eq(\"it answers\", http_get(`http://${{ports[\"8080\"]}}/db`).body, \"db-words v1\");",
        one(&copy, "db", &volumes),
        one(&copy, "web", ""),
        estate.copy
    );
    script(&world, &drill, &["--dry-run"]).expect(0);
    script(&world, &drill, &[]).expect(0);
    assert_eq!(estate.of(&estate.copy), Vec::<String>::new());

    estate.lose_all();
    script(&world, &one("", "db", &volumes), &[]).expect(0);
    script(&world, &one("", "db", ""), &[]).expect(3).told("exists already");
    let health = format!("check_eq(\"it answers\", http_get(\"{web}:{}/db\").body, \"db-words v1\");", estate.port);
    script(&world, &format!("{} {health}", one("", "web", "")), &[]).expect(0);
}

#[test]
fn a_restore_that_fails_half_way_removes_what_it_made() {
    let Some(estate) = Estate::new() else { return };
    estate.up();
    let world = estate.saved();
    estate.lose_all();
    let taken = TcpListener::bind(("127.0.0.1", estate.port)).unwrap();
    script(&world, "restore_services(\"out/services.json\", #{ wait: \"30s\" });", &[])
        .expect(2)
        .told("could not start");
    assert_eq!(estate.of(&estate.project), Vec::<String>::new());
    assert!(try_docker(&["volume", "inspect", &estate.outside()], b"").is_err(), "the other volume is gone, too");
    drop(taken);
    let caught = "try { restore_services(\"out/services.json\", #{ wait: \"5s\", ports: #{ \"9\": 1 } }); }
                  catch (e) { check_eq(\"kind\", e.kind, \"usage\"); }";
    script(&world, caught, &[]).expect(0);
}

#[test]
fn a_recovery_that_is_stopped_killed_or_never_healthy_leaves_nothing() {
    let Some(estate) = Estate::new() else { return };
    estate.up();
    let world = estate.saved();
    estate.lose_all();
    edit(&world, |saved| {
        let check = json!({ "Test": ["CMD", "/no-such-program"], "Interval": 1_000_000_000, "Retries": 1 });
        saved["containers"][1]["config"]["Healthcheck"] = check;
    });
    script(&world, "restore_services(\"out/services.json\", #{ wait: \"2s\" });", &[]).expect(2).told("was not ready");
    assert_eq!(estate.of(&estate.project), Vec::<String>::new());

    world.write("main.rhai", "log(\"here we go\"); restore_services(\"out/services.json\", #{ wait: \"200s\" });");
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143), (Signal::SIGKILL, 137)] {
        let mut started = world.start(&["main.rhai"]);
        assert!(started.until("here we go"));
        let up = || docker(&["ps", "-q", "--filter", &format!("name={}", estate.name("web_1"))]);
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while up().is_empty() {
            assert!(std::time::Instant::now() < deadline, "the web never starts");
        }
        started.signal(signal);
        started.end().expect(code);
        if signal == Signal::SIGKILL {
            assert_eq!(estate.of(&estate.project).len(), 4, "two containers, a volume and a network are left");
            world.run(&["gc"]).expect(0);
        }
        assert_eq!(estate.of(&estate.project), Vec::<String>::new(), "after {signal}");
        assert!(try_docker(&["volume", "inspect", &estate.outside()], b"").is_err(), "after {signal}");
    }
}

#[test]
fn a_killed_drill_is_tidied_up_by_gc() {
    let Some(estate) = Estate::new() else { return };
    estate.up();
    let world = estate.saved();
    let before = estate.seen();
    world.write(
        "main.rhai",
        &format!(
            "restore_services(\"out/services.json\", #{{ project: \"{}\" }}); log(\"it runs\"); sleep(\"200s\");",
            estate.copy
        ),
    );
    let mut started = world.start(&["main.rhai"]);
    assert!(started.until("it runs"));
    started.signal(Signal::SIGKILL);
    started.end();
    assert_eq!(estate.of(&estate.copy).len(), 5, "two containers, two volumes and a network are left");
    world.run(&["gc"]).expect(0);
    assert_eq!(estate.of(&estate.copy), Vec::<String>::new());
    assert_eq!(estate.seen(), before);
}

#[test]
fn what_leads_out_of_a_copy_is_refused() {
    let Some(estate) = Estate::new() else { return };
    estate.up();
    let world = estate.saved();
    let original = std::fs::read(world.path("out/services.json")).unwrap();
    let drill = |options: &str| {
        format!("restore_services(\"out/services.json\", #{{ project: \"{}\", start: false {options} }});", estate.copy)
    };
    let folder = world.path("conf").display().to_string();
    std::fs::create_dir(&folder).unwrap();
    let cases = [
        (json!({ "Privileged": true }), "", "it is privileged"),
        (json!({ "NetworkMode": "host" }), "", "shares the machine's network"),
        (json!({ "PidMode": "host" }), "", "shares the machine's processes"),
        (json!({ "CapAdd": ["CAP_SYS_ADMIN"] }), "", "capability SYS_ADMIN"),
        (json!({ "VolumesFrom": ["stranger"] }), "", "container stranger"),
        (json!({ "Binds": [format!("{folder}:/conf")] }), "", "mounts"),
        (json!({ "Binds": ["/var/run/docker.sock:/s:ro"] }), ", binds: \"keep\"", "commands the machine"),
        (json!({ "Binds": ["/:/host:ro"] }), ", binds: \"keep\"", "commands the machine"),
    ];
    for (change, options, told) in cases {
        std::fs::write(world.path("out/services.json"), &original).unwrap();
        edit(&world, |saved| {
            let host = saved["containers"][0]["host"].as_object_mut().unwrap();
            change.as_object().unwrap().iter().for_each(|(key, value)| drop(host.insert(key.clone(), value.clone())));
        });
        script(&world, &drill(options), &[]).expect(3).told(told);
    }
    // A folder that is kept is mounted for reading only.
    std::fs::write(world.path("out/services.json"), &original).unwrap();
    edit(&world, |saved| saved["containers"][0]["host"]["Binds"] = json!([format!("{folder}:/conf:rw")]));
    script(&world, &drill(", binds: \"keep\""), &["--keep"]).expect(0);
    let binds = docker(&["inspect", "-f", "{{json .HostConfig.Binds}}", &format!("{}_db_1", estate.copy)]);
    assert_eq!(binds, json!([format!("{folder}:/conf:ro")]).to_string());
    estate.lose(&estate.copy);

    let one = format!(
        "restore_services(\"out/services.json\", #{{ project: \"{}\" }});",
        estate.project.replace("shop", "Shop")
    );
    script(&world, &one, &[]).expect(2).told("not the name of a Compose project");
    std::fs::write(world.path("out/services.json"), &original).unwrap();
    world.write("runner.toml", &format!("[protect]\nprojects = [\"{}*\"]\n", estate.project.trim_end_matches("shop")));
    script(&world, &drill(""), &[]).expect(3).told("runner.toml protects");
    let stop = format!("stop_services(#{{ project: \"{}\" }});", estate.project);
    script(&world, &stop, &[]).expect(3).told("runner.toml protects");
    assert_eq!(docker(&["inspect", "-f", "{{.State.Running}}", &estate.name("web_1")]), "true");
}

#[test]
fn a_changed_byte_of_the_images_is_seen_before_anything_is_loaded() {
    let Some(estate) = Estate::new() else { return };
    estate.up();
    let world = estate.saved();
    estate.lose_all();
    docker(&["rmi", &estate.image]);
    let images = world.path("out/images.tar.gz");
    let mut bytes = std::fs::read(&images).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&images, bytes).unwrap();
    let recover = "restore_services(\"out/services.json\", #{ images: \"out/images.tar.gz\" });";
    script(&world, recover, &[]).expect(2).told("is not the file of images that was saved");
    assert_eq!(estate.of(&estate.project), Vec::<String>::new());
    assert!(try_docker(&["image", "inspect", &estate.image], b"").is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_brings_the_database_up_first_restores_it_and_then_starts_the_rest() {
    let (Some(estate), Some(image)) = (Estate::new(), docker_image().await) else { return };
    estate.up();
    docker(&["rm", "-f", &estate.name("db_1")]);
    let (name, label) = (estate.name("postgres_1"), format!("com.docker.compose.project={}", estate.project));
    let password = format!("POSTGRES_PASSWORD={CANARY}");
    let service = "com.docker.compose.service=postgres";
    let mount = format!("{}:/var/lib/postgresql/data", estate.name("pgdata"));
    docker(&["volume", "create", "--label", &label, &estate.name("pgdata")]);
    let network = estate.name("default");
    let make = ["run", "-d", "--init", "--name", &name, "--label", &label, "--label", service, "-e", &password];
    let more = ["-e", "POSTGRES_DB=shop", "-v", &mount, "--network", &network, "-p", "127.0.0.1::5432", &image];
    docker(&make.into_iter().chain(more).collect::<Vec<_>>());

    let world = World::new(PROGRAM);
    let save = format!(
        "let first = services(#{{ project: \"{0}\", services: [\"postgres\"] }})[0];
         start_services(#{{ project: \"{0}\", services: [\"postgres\"], wait: \"60s\" }});
         let shop = step(\"open\", #{{ retry: 60 }}, || postgres(#{{ container: first.container }}, #{{ writable: true }}));
         execute(shop, \"create table users (id int primary key, name text)\");
         execute(shop, \"insert into users select n, 'user ' || n from generate_series(1, 1000) n\");
         dump(shop, \"out/shop.sql.gz\");
         save_services(#{{ project: \"{0}\" }}, \"out/services.json\");",
        estate.project
    );
    script(&world, &save, &[]).expect(0);
    let drill = format!(
        "let source = backup(\"out/shop.sql.gz\");
         postgres(#{{ container: \"{0}_postgres_1\" }}); // the original is a source: it can never be a target
         let made = restore_services(\"out/services.json\", #{{ project: \"{1}\", start: false }});
         let first = start_services(#{{ project: \"{1}\", services: [\"postgres\"], wait: \"60s\" }})[0];
         let target = step(\"open\", #{{ retry: 60 }}, || postgres(#{{ container: first.container }}, #{{ writable: true }}));
         let copy = restore(source, target, #{{ replace: true }});
         let diff = compare(source, copy);
         check(\"every row is back\", diff.equal, diff.summary);
         let web = start_services(#{{ project: \"{1}\", wait: \"60s\" }}).filter(|s| s.name == \"web\")[0];
         check(\"it answers\", http_get(`http://${{web.ports[\"8080\"]}}/health`).ok);",
        estate.project, estate.copy
    );
    let before = docker(&["inspect", "-f", "{{.State.StartedAt}} {{json .HostConfig}}", &name]);
    // Also where the file is not there yet: another step of the same dry run would have made it.
    let later = format!(
        "copy(\"out/services.json\", \"later/services.json\"); {}",
        drill.replace("\"out/services", "\"later/services")
    );
    script(&world, &later, &["--dry-run"]).expect(0);
    script(&world, &drill, &["--dry-run"]).expect(0);
    assert_eq!(estate.of(&estate.copy), Vec::<String>::new());
    script(&world, &drill, &[]).expect(0);
    assert_eq!(estate.of(&estate.copy), Vec::<String>::new());
    assert_eq!(docker(&["inspect", "-f", "{{.State.StartedAt}} {{json .HostConfig}}", &name]), before);
}

#[test]
fn compose_takes_what_was_recovered_for_its_own() {
    let Some(estate) = Estate::new() else { return };
    let Some(compose) = compose() else {
        not_run("there is no Compose to ask whether it knows the containers again");
        return;
    };
    let file = format!(
        "version: '2.4'
services:
  db:
    image: {0}
    init: true
    environment: [GREETING=composed]
    volumes: ['data:/data', '/anonymous']
    healthcheck: {{ test: [CMD, /web, check], interval: 1s, retries: 30 }}
  web:
    image: {0}
    init: true
    environment: {{ DB: 'db:8080', GREETING: '{CANARY}' }}
    ports: ['127.0.0.1:{1}:8080']
    depends_on: {{ db: {{ condition: service_healthy }} }}
    networks: {{ default: {{}}, back: {{ aliases: [shop] }} }}
volumes: {{ data: {{}} }}
networks: {{ back: {{}} }}
",
        estate.image, estate.port
    );
    let world = World::new(PROGRAM).file("compose.yml", &file);
    let ask = |arguments: &[&str]| {
        let path = world.path("compose.yml");
        let path = path.to_str().unwrap();
        let mut all: Vec<&str> = compose.iter().map(String::as_str).collect();
        all.extend(["-f", path, "-p", &estate.project]);
        all.extend(arguments);
        let out = Command::new(all[0]).args(&all[1..]).output().unwrap();
        assert!(out.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
        format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
    };
    ask(&["up", "-d"]);
    let save = format!("save_services(#{{ project: \"{}\" }}, \"out/services.json\");", estate.project);
    world.write("save.rhai", &save);
    world.run(&["save.rhai"]).expect(0).told("the volume without a name at /anonymous");
    estate.lose_all();

    let recover = format!(
        "let made = restore_services(\"out/services.json\", #{{ wait: \"60s\" }});
         check(\"healthy before the web\", made.all(|s| s.running));
         check_eq(\"it answers\", http_get(\"http://127.0.0.1:{}/db\").body, \"composed \");",
        estate.port
    );
    world.write("recover.rhai", &recover);
    world.run(&["recover.rhai"]).expect(0);
    let ids = || {
        docker(&[
            "ps",
            "-aq",
            "--no-trunc",
            "--filter",
            &format!("label=com.docker.compose.project={}", estate.project),
        ])
    };
    let before = ids();
    let listed = ask(&["ps"]);
    assert!(listed.contains("db") && listed.contains("web") && listed.contains("Up"), "{listed}");
    let up = ask(&["up", "-d"]);
    assert_eq!(ids(), before, "Compose makes nothing anew: {up}");
    assert!(!up.contains("has changed"), "{up}");
}

/// Returns how Compose is called on this machine.
fn compose() -> Option<Vec<String>> {
    let there = |call: &[&str]| {
        Command::new(call[0]).args(&call[1..]).arg("version").output().is_ok_and(|o| o.status.success())
    };
    let calls: [&[&str]; 2] = [&["docker", "compose"], &["docker-compose"]];
    calls.into_iter().find(|call| there(call)).map(|call| call.iter().map(|word| (*word).to_owned()).collect())
}
