# limen on a CPU, without a compiler: the wheel brings the kernels. Built after `make wheel`: docker build -t limen .
FROM python:3.11-slim
COPY dist/*.whl /tmp/
RUN pip install --no-cache-dir torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu \
    && for wheel in /tmp/*.whl; do pip install --no-cache-dir "$wheel[lab]"; done \
    && rm /tmp/*.whl
RUN useradd --create-home app
USER app
WORKDIR /home/app
ENTRYPOINT ["limen"]
CMD ["doctor"]
