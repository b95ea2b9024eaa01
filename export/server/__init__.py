"""A server for development that speaks TensorFlow Serving's protocols.

Not for production: it answers on one machine, in Python, without batching,
limits of its users or monitoring. What it is for: clients can be written and
tested, and a day's export can be asked, where `tensorflow_model_server` is not
at hand.

```
python -m ecdctr_tf.export.server --model_base_path=RUN/export
```

It needs the extra `server`. Over gRPC it answers Predict, Regress, Classify,
GetModelMetadata and GetModelStatus; over REST, by POST,
`/v1/models/NAME[/versions/V]:predict|regress|classify`, and by GET
`/v1/models/NAME[/versions/V]` and `/v1/models/NAME[/versions/V]/metadata`. The
newest version is served, as TensorFlow Serving does by default; the next one,
or after a rollback the one before, is loaded while the former answers. Labels,
several models and MultiInference are left out.

The parts: `loading` (a version in a session), `warming` (of one before it goes
live), `model` (which version answers), `answers` (what requests of both
protocols come to), `refusal`, `grpc_service`,
`rest` with `json_tensors`, and `__main__`, the command.
"""
