"""What users of the openai and langchain-openai libraries do, and what they see when they do it wrong."""

import math
import sys

import openai
from langchain_openai import OpenAIEmbeddings


def near(left: list[float], right: list[float]) -> bool:
    return len(left) == len(right) and all(abs(a - b) < 1e-5 for a, b in zip(left, right))


def with_openai(url: str, model: str) -> list[list[float]]:
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0)
    assert [entry.id for entry in client.models.list()] == [model]
    texts = ["a dog runs", "ein Hund läuft", "犬が走る"]
    # The library asks for base64 by itself and unpacks it.
    answer = client.embeddings.create(model=model, input=texts, user="somebody")
    vectors = [entry.embedding for entry in answer.data]
    assert [entry.index for entry in answer.data] == [0, 1, 2] and len(vectors[0]) == 384
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > 9
    floats = client.embeddings.create(model=model, input=texts, encoding_format="float")
    assert all(near(one.embedding, other) for one, other in zip(floats.data, vectors))
    lone = client.embeddings.create(model=model, input=texts[0]).data[0].embedding
    assert near(lone, vectors[0])
    short = client.embeddings.create(model=model, input=texts[0], dimensions=64).data[0].embedding
    norm = math.sqrt(sum(value * value for value in lone[:64]))
    assert near(short, [value / norm for value in lone[:64]])

    for wrong, field in [({"input": ""}, "input"), ({"input": texts, "dimensions": 10_000}, "dimensions")]:
        try:
            client.embeddings.create(model=model, **wrong)
            raise AssertionError(f"{wrong} was taken")
        except openai.BadRequestError as error:
            assert error.param == field and error.code == "invalid_value", error.body
    try:
        client.embeddings.create(model="another", input="a")
        raise AssertionError("another model was taken")
    except openai.NotFoundError as error:
        assert error.code == "model_not_found" and model in str(error)
    return vectors


def with_langchain(url: str, model: str, vectors: list[list[float]]) -> None:
    texts = ["a dog runs", "ein Hund läuft", "犬が走る"]
    plain = OpenAIEmbeddings(model=model, base_url=f"{url}/v1", api_key="unused", check_embedding_ctx_length=False)
    assert all(near(one, other) for one, other in zip(plain.embed_documents(texts), vectors))
    assert near(plain.embed_query(texts[1]), vectors[1])


def main() -> None:
    url, model = sys.argv[1:]
    vectors = with_openai(url, model)
    with_langchain(url, model, vectors)
    print(f"openai {openai.__version__} and langchain-openai work against {model}")


main()
