//! The `multiconn-server` program: see `multiconn::cli`.

fn main() -> std::process::ExitCode {
    multiconn::cli::server_main()
}
