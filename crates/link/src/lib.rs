//! What both planes speak: gRPC types, Redis keys and adapters, files.
