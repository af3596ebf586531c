//! The designs of the reference cases, made from the vendored raw files.

use std::collections::BTreeMap;

use ndarray::{Array1, Array2, Axis};

/// A design with named columns.
pub struct Design {
    pub names: Vec<String>,
    pub x: Array2<f64>,
    pub y: Array1<f64>,
}

/// The columns of a CSV file as text, by name.
struct Csv {
    columns: BTreeMap<String, Vec<String>>,
}

impl Csv {
    /// One of the data sets that Phalanx brings.
    fn open(name: &str) -> Self {
        Self::read(&format!("{}/../datasets/data/{name}.csv", env!("CARGO_MANIFEST_DIR")))
    }

    /// One that these tests bring.
    fn beside(name: &str) -> Self {
        Self::read(&format!("{}/tests/data/{name}.csv", env!("CARGO_MANIFEST_DIR")))
    }

    fn read(path: &str) -> Self {
        let mut reader = csv::Reader::from_path(path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let names: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
        let mut columns: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for record in reader.records() {
            for (name, field) in names.iter().zip(record.unwrap().iter()) {
                columns.entry(name.clone()).or_default().push(field.to_owned());
            }
        }
        Self { columns }
    }

    fn numbers(&self, name: &str) -> Vec<f64> {
        self.columns[name].iter().map(|text| text.parse().unwrap_or(f64::NAN)).collect()
    }

    fn is(&self, name: &str, level: &str) -> Vec<f64> {
        self.columns[name].iter().map(|text| f64::from(text == level)).collect()
    }
}

impl Design {
    fn of(y: Vec<f64>, columns: Vec<(String, Vec<f64>)>) -> Self {
        let (names, values): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
        let by_column: Vec<f64> = values.concat();
        let x = Array2::from_shape_vec((names.len(), y.len()), by_column).unwrap();
        Self { names, x: x.t().as_standard_layout().into_owned(), y: y.into() }
    }

    /// Some of the rows, in this order.
    pub fn select(&self, rows: &[usize]) -> Self {
        Self { names: self.names.clone(), x: self.x.select(Axis(0), rows), y: self.y.select(Axis(0), rows) }
    }

    /// The columns with mean 0 and population standard deviation 1.
    pub fn standardised(mut self) -> Self {
        for mut column in self.x.axis_iter_mut(Axis(1)) {
            let mean = column.mean().unwrap();
            column -= mean;
            let scale = (column.dot(&column) / column.len() as f64).sqrt();
            column /= scale;
        }
        self
    }
}

/// Hourly bike rentals; `names` are `column` or `column_level`.
pub fn bikeshare(names: &[String]) -> Design {
    let csv = Csv::open("bikeshare");
    encoded(&csv, csv.numbers("bikers"), names)
}

/// Churn of telephone customers.
pub fn churn(names: &[String]) -> Design {
    let csv = Csv::open("churn");
    encoded(&csv, csv.is("churn", "Yes"), names)
}

/// Salaries of baseball players, those known.
pub fn hitters(names: &[String]) -> Design {
    let csv = Csv::open("hitters");
    let column = |name: &String| match name.as_str() {
        "LeagueN" => csv.is("League", "N"),
        "NewLeagueN" => csv.is("NewLeague", "N"),
        "DivisionW" => csv.is("Division", "W"),
        other => csv.numbers(other),
    };
    let all = Design::of(csv.numbers("Salary"), names.iter().map(|name| (name.clone(), column(name))).collect());
    let known: Vec<usize> = (0..all.y.len()).filter(|&i| all.y[i].is_finite()).collect();
    all.select(&known)
}

/// The US economy of 1947 to 1962.
pub fn longley(names: &[String]) -> Design {
    let csv = Csv::open("longley");
    encoded(&csv, csv.numbers("TOTEMP"), names)
}

/// Who defaulted on a credit card.
pub fn default(names: &[String]) -> Design {
    let csv = Csv::open("default");
    encoded(&csv, csv.is("default", "Yes"), names)
}

/// Prices of hotel rooms, those above 0.
pub fn hotel(names: &[String]) -> Design {
    let csv = Csv::beside("hotel_rates");
    let all = encoded(&csv, csv.numbers("avg_price_per_room"), names);
    let priced: Vec<usize> = (0..all.y.len()).filter(|&i| all.y[i] > 0.).collect();
    all.select(&priced)
}

/// The training rows of the prostate cancer data, columns in units of all rows' standard deviation.
pub fn prostate(names: &[String]) -> Design {
    let csv = Csv::beside("prostate");
    let mut all = encoded(&csv, csv.numbers("lpsa"), names);
    for mut column in all.x.axis_iter_mut(Axis(1)) {
        let (mean, scale) = (column.mean().unwrap(), column.std(1.));
        column.mapv_inplace(|x| (x - mean) / scale);
    }
    let train: Vec<usize> =
        csv.is("train", "T").iter().enumerate().filter(|(_, t)| **t == 1.).map(|(i, _)| i).collect();
    all.select(&train)
}

/// Data made to break careless solvers.
pub fn edge(name: &str, y: &str, names: &[String]) -> Design {
    let csv = Csv::beside(name);
    encoded(&csv, csv.numbers(y), names)
}

fn encoded(csv: &Csv, y: Vec<f64>, names: &[String]) -> Design {
    let column = |name: &String| {
        if csv.columns.contains_key(name) {
            return csv.numbers(name);
        }
        let (column, level) = csv
            .columns
            .keys()
            .find_map(|column| Some((column, name.strip_prefix(column.as_str())?.strip_prefix('_')?)))
            .unwrap_or_else(|| panic!("no column for {name}"));
        csv.is(column, level)
    };
    Design::of(y, names.iter().map(|name| (name.clone(), column(name))).collect())
}
