"""The backend `huggingface`: LangChain's HuggingFaceEmbeddings behind FastAPI, as most teams serve it first.

Loads the model, makes one real vector, and only then listens. Never changes device, dtype or pooling by itself: what cannot be
had as asked ends the process with the reason. Forward passes run one at a time, as fast tokenizers may not be shared by threads;
there is no batching across requests, which is what this backend stands for.
"""

import argparse
import base64
import os
import platform
import sys
import threading
import time
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, Optional, Union

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")

import numpy
import orjson
import torch
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from langchain_huggingface import HuggingFaceEmbeddings
from pydantic import AfterValidator, BaseModel

PACKAGES = ("torch", "transformers", "sentence-transformers", "langchain-huggingface", "tokenizers", "fastapi", "uvicorn", "numpy")
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class Embedder:
    """The model, with a lock. `embed` gives one list of floats per text and the number of tokens that went through the model."""

    def __init__(self, args: argparse.Namespace) -> None:
        if args.device.startswith("cuda") and not torch.cuda.is_available():
            sys.exit("device cuda was asked for, and torch finds no GPU here: ask Slurm for one (slurm.gres) or set device: cpu")
        # On H100, cuDNN's attention plans anew for each batch shape: half precision is then slower than single. See /info.
        torch.backends.cuda.enable_cudnn_sdp(args.cudnn_sdpa == "on")
        started = time.monotonic()
        self.embeddings = HuggingFaceEmbeddings(
            model_name=args.model,
            model_kwargs={"device": args.device, "model_kwargs": {"dtype": DTYPES[args.dtype]}},
            encode_kwargs={"batch_size": args.batch_size, "normalize_embeddings": args.normalize},
        )
        self.model = self.embeddings._client
        if args.max_length:
            self.model.max_seq_length = args.max_length
        self.check_modules(args)
        self.lock = threading.Lock()
        self.tokens = 0
        self.totals = {"requests": 0, "texts": 0, "tokens": 0}
        self.seconds = 0.0
        self.model[0].register_forward_pre_hook(self.count_tokens)
        print(f"weights loaded after {time.monotonic() - started:.2f} s", flush=True)

    def check_modules(self, args: argparse.Namespace) -> None:
        names = [type(module).__name__ for module in self.model]
        found = next((pooling_mode(module) for module in self.model if type(module).__name__ == "Pooling"), None)
        wanted = {"last": "lasttoken"}.get(args.pooling, args.pooling)
        if found is not None and found != wanted:
            sys.exit(f"model.pooling is {args.pooling}, but the model's files say {found}: make them agree")
        if "Normalize" in names and not args.normalize:
            sys.exit("model.normalize is false, but the model's files normalise (module Normalize): make them agree")

    def count_tokens(self, _module: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
        mask = inputs[0].get("attention_mask")
        self.tokens += int(mask.sum()) if mask is not None else 0

    def embed(self, texts: list[str]) -> tuple[list[list[float]], int]:
        with self.lock:
            self.tokens = 0
            started = time.monotonic()
            vectors = self.embeddings.embed_documents(texts)
            self.seconds += time.monotonic() - started
            for name, count in (("requests", 1), ("texts", len(texts)), ("tokens", self.tokens)):
                self.totals[name] += count
            return vectors, self.tokens

    def exposition(self) -> str:
        """For Prometheus."""
        lines = []
        for name, value in (*self.totals.items(), ("seconds", self.seconds)):
            lines += [f"# TYPE em_embed_{name}_total counter", f"em_embed_{name}_total {value}"]
        return "\n".join(lines) + "\n"


def pooling_mode(module: Any) -> str:
    """Of a sentence-transformers Pooling module, before and after its version 6."""
    return str(module.pooling_mode if hasattr(module, "pooling_mode") else module.get_pooling_mode_str())


def characters(text: str) -> str:
    """Half a surrogate pair, which JSON can spell, is no text in any encoding."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError("holds half a surrogate pair") from error
    return text


Text = Annotated[str, AfterValidator(characters)]


class EmbedRequest(BaseModel):
    texts: list[Text]


class OpenAIRequest(BaseModel):
    input: Union[Text, list[Text]]
    model: str
    encoding_format: str = "float"
    dimensions: Optional[int] = None
    user: Optional[str] = None


def application(embedder: Embedder, args: argparse.Namespace) -> FastAPI:
    app = FastAPI(title="Embedding Meter: huggingface backend")

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return problem(400, f"{'.'.join(str(part) for part in first['loc'][1:])}: {first['msg']}")

    @app.get("/health")
    def health() -> Response:
        return answer({"status": "healthy", "backend": "huggingface", "model": args.model_name, "gpu_available": torch.cuda.is_available()})

    @app.get("/info")
    def info() -> Response:
        settings = {name: getattr(args, name) for name in ("device", "dtype", "batch_size", "pooling", "normalize", "cudnn_sdpa")}
        settings["max_length"] = embedder.model.max_seq_length
        settings["threads"] = torch.get_num_threads()
        return answer({"backend": "huggingface", "model": args.model_name, "versions": versions(), "settings": settings})

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(embedder.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/v1/models")
    def models() -> Response:
        return answer({"object": "list", "data": [{"id": args.model_name, "object": "model", "owned_by": "embedding-meter"}]})

    @app.post("/embed")
    def embed(request: EmbedRequest) -> Response:
        vectors, _ = embedder.embed(request.texts) if request.texts else ([], 0)
        dim = len(vectors[0]) if vectors else 0
        return answer({"embeddings": vectors, "model": args.model_name, "num_embeddings": len(vectors), "embedding_dim": dim})

    @app.post("/v1/embeddings")
    def openai(request: OpenAIRequest) -> Response:
        texts = [request.input] if isinstance(request.input, str) else request.input
        if request.model != args.model_name:
            return problem(404, f"model: `{request.model}` is not served here, `{args.model_name}` is")
        if not texts:
            return problem(400, "input: at least one text is needed")
        if request.dimensions is not None:
            return problem(400, "dimensions: this model's vectors cannot be shortened")
        if request.encoding_format not in ("float", "base64"):
            return problem(400, f"encoding_format: `{request.encoding_format}` is not known, float and base64 are")
        vectors, tokens = embedder.embed(texts)
        as_text = request.encoding_format == "base64"
        data = [
            {"object": "embedding", "index": index, "embedding": packed(vector) if as_text else vector}
            for index, vector in enumerate(vectors)
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return answer({"object": "list", "data": data, "model": args.model_name, "usage": usage})

    return app


def packed(vector: list[float]) -> str:
    """Little-endian float32, base64: OpenAI's `encoding_format: base64`."""
    return base64.b64encode(numpy.asarray(vector, dtype="<f4").tobytes()).decode("ascii")


def answer(body: dict[str, Any], status: int = 200) -> Response:
    return Response(orjson.dumps(body), status_code=status, media_type="application/json")


def problem(status: int, message: str) -> Response:
    kind = "NotFoundError" if status == 404 else "BadRequestError"
    return answer({"error": {"message": message, "type": kind, "param": message.split(":")[0], "code": status}}, status)


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            pass
    if torch.version.cuda and torch.cuda.is_available():
        found["cuda"] = torch.version.cuda
    return found


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder of the model, as sentence-transformers reads it")
    parser.add_argument("--model-name", required=True, help="what clients send as `model`")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N; never changed silently")
    parser.add_argument("--dtype", choices=sorted(DTYPES), default="float32")
    parser.add_argument("--pooling", choices=("mean", "cls", "last"), default="mean")
    parser.add_argument("--normalize", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--batch-size", type=int, default=32, help="largest batch of one forward pass")
    parser.add_argument("--max-length", type=int, help="tokens a text is cut to (default: what the model's files say)")
    default = os.environ.get("EM_HF_CUDNN_SDPA", "on")
    parser.add_argument("--cudnn-sdpa", choices=("on", "off"), default=default, help="cuDNN's attention kernels (also EM_HF_CUDNN_SDPA)")
    return parser.parse_args()


def main() -> None:
    args = parse()
    embedder = Embedder(args)
    started = time.monotonic()
    vectors, _ = embedder.embed(["A first vector, before anyone may ask for one."])
    if not numpy.isfinite(vectors).all():
        sys.exit("the first vector holds NaN or infinity: this model does not run in this dtype")
    print(f"first vector after {time.monotonic() - started:.2f} s; listening on {args.host}:{args.port}", flush=True)
    uvicorn.run(application(embedder, args), host=args.host, port=args.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
