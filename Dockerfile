# docker build --tag kalign .
# docker run --rm --gpus all --ipc=host -v "$PWD/runs:/mnt/runs" -v "$PWD/my.jsonl:/mnt/my.jsonl:ro" kalign train recipe=qwen data.path=my.jsonl
# The Makefile's install, with CUDA: the same versions from constraints.txt, for a user without rights. Secrets, such as
# HF_TOKEN, are given when it runs (--env-file), never when it is built. The host's runs/ must be writable for user 10001.
FROM nvidia/cuda:13.0.1-runtime-ubuntu24.04

# gcc and python3-dev: kernels that are compiled for the GPU at hand need them
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,target=/var/lib/apt,sharing=locked \
    rm -f /etc/apt/apt.conf.d/docker-clean \
    && apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
       gcc git libc6-dev python3 python3-dev python3-venv \
    && useradd --create-home --uid 10001 kalign \
    && install --directory --owner=kalign --group=kalign /opt/kalign /mnt /mnt/runs

USER kalign
WORKDIR /opt/kalign
COPY --chown=kalign:kalign . .
RUN --mount=type=cache,target=/home/kalign/.cache/pip,uid=10001,gid=10001 \
    python3 -m venv .venv \
    && .venv/bin/pip install --quiet --constraint constraints.txt --editable ".[sweep,tensorboard]"

ENV PATH=/opt/kalign/.venv/bin:$PATH
WORKDIR /mnt
ENTRYPOINT ["kalign"]
CMD ["--help"]
