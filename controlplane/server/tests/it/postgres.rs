//! A private, throw-away PostgreSQL for tests: one a process, in a folder of its own, reached by a unix socket, without fsync. A
//! shell watches our end of a pipe: when this process ends, however it does, the server is stopped by its id and the folder goes.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use sqlx::any::install_default_drivers;
use sqlx::{AnyConnection, AssertSqlSafe, Connection};

/// The address of an empty schema of its own: what a fresh database is.
pub(crate) async fn fresh_schema() -> String {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let server = server();
    let schema = format!("test{}", MADE.fetch_add(1, Ordering::Relaxed));
    install_default_drivers();
    let mut connection = AnyConnection::connect(&server.url).await.expect("the test's PostgreSQL answers");
    sqlx::raw_sql(AssertSqlSafe(format!("CREATE SCHEMA {schema}"))).execute(&mut connection).await.expect("a new schema");
    connection.close().await.expect("closing a connection");
    format!("{}&options=-c%20search_path%3D{schema}", server.url)
}

struct Server {
    url: String,
    /// Holds the pipe that the shell reads.
    _shell: Child,
}

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(start)
}

/// `$1` the folder, `$2` PostgreSQL's programs, the rest runs a command as the account that owns the folder.
const SHELL: &str = r#"
dir=$1 bin=$2; shift 2
"$@" "$bin/initdb" --no-sync --no-instructions -D "$dir/data" -A trust -U em -E UTF8 \
  --locale=C.UTF-8 --locale-provider=icu --icu-locale=en-US >"$dir/log" 2>&1 || { echo failed; cat >/dev/null; exit 1; }
"$@" "$bin/postgres" -D "$dir/data" -k "$dir" -c listen_addresses= -c max_connections=400 -c shared_buffers=32MB \
  -c fsync=off -c full_page_writes=off -c synchronous_commit=off >>"$dir/log" 2>&1 </dev/null &
server=$!
echo started
cat >/dev/null
kill -QUIT $server
wait $server
rm -rf "$dir"
"#;

fn start() -> Server {
    let bin = programs();
    let dir = tempfile::Builder::new().prefix("em-postgres-").tempdir().expect("a temporary folder").keep();
    let mut owner = Vec::new();
    if rustix::process::getuid().is_root() {
        // PostgreSQL refuses to run as root. Its package brings an account; any other without rights will do.
        let (uid, gid) = account("postgres").or_else(|| account("nobody")).expect("an account without rights");
        std::os::unix::fs::chown(&dir, Some(uid), Some(gid)).expect("handing a folder over");
        owner = ["setpriv".to_owned(), format!("--reuid={uid}"), format!("--regid={gid}"), "--clear-groups".to_owned()].into();
    }
    let mut shell = Command::new("sh")
        .args(["-c", SHELL, "postgres"])
        .args([&dir, &bin])
        .args(if owner.is_empty() { vec!["env".to_owned()] } else { owner })
        .current_dir(&dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // An interrupt from the terminal is for us; the shell must live to clean up.
        .process_group(0)
        .spawn()
        .expect("a shell");
    let mut word = [0; 8];
    let told = shell.stdout.take().expect("piped").read(&mut word).unwrap_or(0);
    assert!(word[..told].starts_with(b"started"), "PostgreSQL could not be made; its words:\n{}", log(&dir));
    let begin = Instant::now();
    while !log(&dir).contains("ready to accept connections") {
        assert!(begin.elapsed() < Duration::from_secs(60), "PostgreSQL does not start; its words:\n{}", log(&dir));
        std::thread::sleep(Duration::from_millis(10));
    }
    let url = format!("postgres://em@localhost/postgres?host={}", dir.to_string_lossy().replace('/', "%2F"));
    Server { url, _shell: shell }
}

fn log(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("log")).unwrap_or_default()
}

/// On Debian they are not on the path.
fn programs() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path().join("bin"));
    let mut places: Vec<PathBuf> = debian.chain(std::env::split_paths(&path)).collect();
    places.retain(|place| place.join("initdb").exists() && place.join("postgres").exists());
    places.into_iter().max().expect("PostgreSQL is missing: install Debian's package postgresql-15 (make test does)")
}

fn account(name: &str) -> Option<(u32, u32)> {
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    let mut fields = passwd.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?.split(':').skip(1);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}
