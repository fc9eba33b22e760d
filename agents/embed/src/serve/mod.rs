//! `em-agent serve --backend ort`: our engine as a server on its own, with the proof of concept's `/embed`, OpenAI's
//! `/v1/embeddings`, health and metrics. SIGTERM and SIGINT let open requests end first.

mod body;
mod embed;
mod openai;
mod reply;
mod request;
mod status;

use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use actix_web::http::KeepAlive;
use actix_web::{App, HttpServer, web};
use anyhow::Context;
use em_api::spec::{Device, Dtype, Pooling};
use tokio::signal::unix::{SignalKind, signal};

use crate::engine::{Engine, EngineOptions, Wishes};
use crate::prepare::{self, PrepareOptions, Target};

/// The process's exit code when another program holds the port: whoever started us may try another.
pub const EXIT_ADDRESS_IN_USE: u8 = 98;
/// Open requests get this long after a signal: a job must be gone within 20 seconds.
const DRAIN_SECONDS: u64 = 15;
/// Longer than clients keep theirs, so a connection is not closed under a request.
const KEEP_ALIVE: Duration = Duration::from_secs(100);

#[derive(Clone, Debug, clap::Args)]
pub struct ServeArgs {
    /// ort is the only server of our own; the others are started as their users start them.
    #[arg(long, default_value = "ort", value_parser = ["ort"])]
    pub backend: String,
    /// A model folder (config.json, model.safetensors, tokenizer.json); its graph is written if it is not there.
    #[arg(long)]
    pub model: PathBuf,
    /// The name in requests and answers; default: the folder's.
    #[arg(long)]
    pub model_name: Option<String>,
    #[arg(long, default_value = "127.0.0.1")]
    pub host: String,
    /// 0: any free one.
    #[arg(long, default_value_t = 8002)]
    pub port: u16,
    /// cpu or cuda; never one for the other.
    #[arg(long, default_value = "cpu", value_parser = prepare::parse_device)]
    pub device: Device,
    /// float32; on cuda also float16 (fp32, fp16 for short).
    #[arg(long, default_value = "float32", value_parser = prepare::parse_dtype)]
    pub dtype: Dtype,
    /// Batches that run at once; default: 2 on cuda, one a core on the CPU and four at most.
    #[arg(long, value_parser = positive)]
    pub sessions: Option<usize>,
    /// Default: the cores that this process may use.
    #[arg(long, value_parser = positive)]
    pub threads: Option<usize>,
    /// Default: half of the cores, eight at most.
    #[arg(long, value_parser = positive)]
    pub tokenizer_threads: Option<usize>,
    /// Answer 413 to texts above the model's length; else they are cut, as LangChain and sentence-transformers do. A
    /// request says it for itself with "truncate": true or false.
    #[arg(long)]
    pub refuse_long: bool,
    /// Seconds until a request is answered 504 (for example 2.5); a request may ask for less by the header x-request-timeout.
    #[arg(long, value_parser = seconds)]
    pub request_timeout: Option<Duration>,
    /// Tokens a text is cut to; default: what the model's files say.
    #[arg(long)]
    pub max_length: Option<usize>,
    /// libonnxruntime; default: ORT_DYLIB_PATH, else that of the store which the model lies in.
    #[arg(long)]
    pub library: Option<PathBuf>,
    /// Tokens of a batch; default: 600 on the CPU, 4096 on cuda (8192 at most).
    #[arg(long, value_parser = positive)]
    pub token_budget: Option<usize>,
    /// Texts that may wait; more are answered 429.
    #[arg(long, default_value = "8192", value_parser = positive)]
    pub max_queue: usize,
    /// Texts in one request.
    #[arg(long, default_value = "2048", value_parser = positive)]
    pub max_texts: usize,
    /// Bytes of a request body.
    #[arg(long, default_value = "16777216", value_parser = positive)]
    pub body_limit: usize,
    /// mean, cls or last; default: what the model's own files say.
    #[arg(long, value_parser = prepare::parse_pooling)]
    pub pooling: Option<Pooling>,
    /// Answer vectors as pooled, without L2 normalisation.
    #[arg(long)]
    pub no_normalize: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("{address} is in use by another program: choose another --port, or 0 for any free one")]
    AddressInUse { address: SocketAddr },
}

/// What an error of [`run`] ends the process with: [`EXIT_ADDRESS_IN_USE`] or 1.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    match error.downcast_ref::<ServeError>() {
        Some(ServeError::AddressInUse { .. }) => EXIT_ADDRESS_IN_USE,
        None => 1,
    }
}

/// What the handlers share.
pub(crate) struct Service {
    engine: Engine,
    model_name: String,
    max_texts: usize,
    /// Of requests that choose nothing.
    wishes: Wishes,
    /// Seconds since 1970, for `/v1/models`.
    started_at: i64,
}

/// Serves until a signal comes; then open requests end and it returns.
pub async fn run(args: ServeArgs) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let listener = bind(&args.host, args.port)?;
    let address = listener.local_addr().context("asking for the bound address")?;
    let (workers, body_limit) = (std::thread::available_parallelism().map_or(1, |cores| cores.get().min(4)), args.body_limit);

    let loading = tokio::task::spawn_blocking(move || load(args));
    let service = tokio::select! {
        service = loading => service.context("loading the model")??,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    let ready = format!("{} on {:?}", service.model_name, service.engine.info().device);
    let service = web::Data::new(service);

    let shared = service.clone();
    let server = HttpServer::new(move || {
        App::new().app_data(shared.clone()).app_data(web::PayloadConfig::new(body_limit)).configure(routes)
    })
    .workers(workers)
    .keep_alive(KeepAlive::Timeout(KEEP_ALIVE))
    // A client that closes its side has left: its texts are not computed.
    .h1_allow_half_closed(false)
    .disable_signals()
    .shutdown_timeout(DRAIN_SECONDS)
    .listen(listener)
    .context("taking over the listening socket")?
    .run();
    let handle = server.handle();
    eprintln!("serving {ready} at http://{address}");

    tokio::pin!(server);
    let signal = tokio::select! {
        ended = &mut server => return ended.context("the server ended by itself"),
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    };
    tracing::info!(signal, "open requests end, then the service stops");
    let (_, ended) = tokio::join!(handle.stop(true), server);
    tokio::task::spawn_blocking(move || service.engine.end()).await.context("ending the engine")?;
    ended.context("stopping the server")
}

fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/embed", web::post().to(embed::embed))
        .route("/v1/embeddings", web::post().to(openai::embeddings))
        .route("/v1/models", web::get().to(openai::models))
        .route("/tokenize", web::post().to(embed::tokenize))
        .route("/health", web::get().to(status::health))
        .route("/info", web::get().to(status::info))
        .route("/metrics", web::get().to(status::metrics))
        .default_service(web::to(reply::no_such_route));
}

fn bind(host: &str, port: u16) -> anyhow::Result<TcpListener> {
    let address = (host, port)
        .to_socket_addrs()
        .ok()
        .and_then(|mut addresses| addresses.next())
        .with_context(|| format!("--host {host} is no address of this machine"))?;
    let listener = TcpListener::bind(address).map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => anyhow::Error::new(ServeError::AddressInUse { address }),
        _ => anyhow::Error::new(error).context(format!("listening on {address}")),
    })?;
    // The standard library asks for 128; a burst of clients beyond that would wait a second for its SYN to be sent again.
    rustix::net::listen(&listener, 1024).context("widening the backlog")?;
    Ok(listener)
}

/// Blocks for about as long as reading the weights takes.
fn load(args: ServeArgs) -> anyhow::Result<Service> {
    let normalize = !args.no_normalize;
    let options = PrepareOptions {
        pooling: args.pooling,
        normalize,
        target: Target { device: args.device, dtype: args.dtype },
        force: false,
    };
    let prepared = prepare::prepare_model(&args.model, options)?;
    if prepared.written {
        tracing::info!(graph = %prepared.graph.display(), "wrote the model's graph");
    }
    let model_name = match args.model_name {
        Some(name) => name,
        None => {
            let folder = args.model.canonicalize().context("finding the model's folder")?;
            folder.file_name().map_or_else(|| "model".into(), |name| name.to_string_lossy().into_owned())
        }
    };
    let engine = Engine::load(EngineOptions {
        model_dir: args.model,
        library: args.library,
        device: args.device,
        dtype: args.dtype,
        sessions: args.sessions,
        threads: args.threads,
        tokenizer_threads: args.tokenizer_threads,
        max_length: args.max_length,
        token_budget: args.token_budget,
        max_queue: args.max_queue,
        pooling: args.pooling,
        normalize,
    })?;
    let max_texts = args.max_texts.min(args.max_queue);
    let wishes = Wishes { truncate: !args.refuse_long, deadline: args.request_timeout };
    Ok(Service { engine, model_name, max_texts, wishes, started_at: jiff::Timestamp::now().as_second() })
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err(format!("{text:?} is not a whole number above 0")),
        Ok(number) => Ok(number),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| *seconds > 0.0);
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or(format!("{text:?} is not a number of seconds above 0"))
}
