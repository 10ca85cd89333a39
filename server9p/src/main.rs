//! The `server9p` program: serves a directory over 9P2000.L.

use std::process::ExitCode;

use clap::Parser;
use server9p::serve::{ServeArgs, ServeError, serve};

/// Serve a host directory over 9P2000.L.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    serve: ServeArgs,
}

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    if let Some(code) = server9p::helper::dispatch(&args) {
        return code;
    }
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("SERVER9P_LOG")
                .unwrap_or_else(|_| "warn".into()),
        )
        .with_writer(std::io::stderr)
        .init();
    match serve(cli.serve.into()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("server9p: {error}");
            ExitCode::from(match error {
                ServeError::Resources(_) => 70,
                _ => 3,
            })
        }
    }
}
