//! Where an output goes: a file or standard output, buffered. It knows its name, so that a failed write says which file;
//! a reader that closed the pipe (`tickscope … | head`) has seen enough, so that is success.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::Path;

/// See the head of this file.
pub struct Output {
    name: String,
    inner: BufWriter<Box<dyn Write + Send>>,
    is_closed: bool,
}

impl Output {
    pub fn new(name: impl Into<String>, inner: Box<dyn Write + Send>) -> Output {
        Output { name: name.into(), inner: BufWriter::with_capacity(64 * 1024, inner), is_closed: false }
    }

    /// A new file; one of that name is overwritten.
    pub fn create(path: &Path) -> io::Result<Output> {
        let name = path.display().to_string();
        let file = File::create(path).map_err(|error| named(&name, &error))?;
        Ok(Output::new(name, Box::new(file)))
    }

    pub fn stdout() -> Output {
        Output::new("standard output", Box::new(io::stdout()))
    }

    /// Whether the reader went away; nothing written from here on is read by anybody.
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    fn settle<T>(&mut self, result: io::Result<T>, if_closed: T) -> io::Result<T> {
        match result {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(if_closed)
            }
            Err(error) => Err(named(&self.name, &error)),
            done => done,
        }
    }
}

/// An error that says what it is about.
pub fn named(name: impl Display, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{name}: {error}"))
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_closed {
            return Ok(bytes.len());
        }
        let result = self.inner.write(bytes);
        self.settle(result, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.is_closed {
            return Ok(());
        }
        let result = self.inner.flush();
        self.settle(result, ())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// Memory that outlives the writer.
    #[derive(Clone, Default)]
    pub(crate) struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Shared {
        pub(crate) fn output(&self) -> Output {
            Output::new("memory", Box::new(self.clone()))
        }

        pub(crate) fn bytes(&self) -> Vec<u8> {
            self.0.lock().unwrap().clone()
        }

        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.bytes()).unwrap()
        }
    }

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Fails every write in the same way.
    pub(crate) struct Broken(pub(crate) ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(self.0.into())
        }
    }

    #[test]
    fn a_closed_pipe_is_success() {
        let mut output = Output::new("pipe", Box::new(Broken(ErrorKind::BrokenPipe)));
        output.write_all(&vec![b'x'; 200_000]).unwrap();
        output.flush().unwrap();
        assert!(output.is_closed());
    }

    #[test]
    fn a_failed_write_names_the_file() {
        let mut output = Output::new("orders.csv", Box::new(Broken(ErrorKind::StorageFull)));
        output.write_all(b"x").unwrap();
        let error = output.flush().unwrap_err();
        assert!(error.to_string().starts_with("orders.csv: "), "{error}");
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        let error = Output::create(Path::new("/nonexistent/x.csv")).err().unwrap();
        assert!(error.to_string().starts_with("/nonexistent/x.csv: "), "{error}");
    }
}
