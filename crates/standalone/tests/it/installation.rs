//! Replicas of the control API and gateways as separate processes, over one database and one Redis.

use std::net::SocketAddr;

use testkit::TestCa;

use crate::{
    database::Database,
    process::{Process, free_port, output},
    staff::PASSWORD,
    world::World,
};

/// What all of its processes share.
pub(crate) struct Installation<'w> {
    world: &'w World,
    pub(crate) database: Database,
    redis: String,
    /// The password file of the platform's administrator.
    pub(crate) password: String,
    /// The authority of the internal listener, and the certificate that all replicas have from it.
    ca: String,
    ca_key: String,
    certificate: String,
    key: String,
    master_key: String,
    /// In place of another, which is kept for what it has sealed.
    older_master_keys: Vec<String>,
}

/// One replica of the control API, not started yet.
pub(crate) struct Replica {
    pub(crate) admin: SocketAddr,
    pub(crate) internal: SocketAddr,
    config: String,
}

impl<'w> Installation<'w> {
    pub(crate) async fn new(world: &'w World, redis: String) -> Self {
        Self::over(world, redis, Database::new().await)
    }

    /// Over this database.
    pub(crate) fn over(world: &'w World, redis: String, database: Database) -> Self {
        let internal_ca = TestCa::new();
        let server = internal_ca.leaf(&["localhost"]);
        Self {
            world,
            database,
            redis,
            password: world.write("admin.password", PASSWORD),
            ca: world.write("internal-ca.pem", &internal_ca.ca_pem()),
            ca_key: world.write("internal-ca.key", &internal_ca.key_pem()),
            certificate: world.write("internal.crt", &server.chain_pem),
            key: world.write("internal.key", &server.key_pem),
            master_key: world.write("master.key", &"5a".repeat(32)),
            older_master_keys: Vec::new(),
        }
    }

    fn environment(&self) -> [(&'static str, &str); 2] {
        [("DATABASE_URL", &self.database.url), ("REDIS_URL", &self.redis)]
    }

    /// Another replica.
    pub(crate) fn replica(&self, name: &str) -> Replica {
        let (admin, internal, public) = (free_port(), free_port(), free_port());
        let Self { password, ca, ca_key, certificate, key, master_key, .. } = self;
        let older: Vec<_> = self.older_master_keys.iter().map(|file| format!("\"file:{file}\"")).collect();
        let older = older.join(", ");
        let config = self.world.write(
            &format!("{name}.yaml"),
            &format!(
                "environment: dev\ndatabase: {{ url: \"postgres://set-by-the-environment\", migrate: true, master_key: \"file:{master_key}\", older_master_keys: [{older}] }}\n\
                 listeners:\n  public: \"0.0.0.0:{}\"\n  public_tls: {{ name: localhost, certificate: \"{certificate}\", key: \"{key}\", ca: \"{ca}\" }}\n  admin: \"{admin}\"\n  internal: \"{internal}\"\n  internal_tls: {{ certificate: \
                 \"{certificate}\", key: \"{key}\", ca: \"{ca}\", ca_key: \"{ca_key}\" }}\nbootstrap: {{ admin_password: \"file:{password}\" }}\n",
                public.port(),
            ),
        );
        Replica { admin, internal, config }
    }

    /// Another replica, which seals with a new master key and opens what the one until now has sealed.
    pub(crate) fn with_another_master_key(&mut self, name: &str) -> Replica {
        let new = self.world.write("another-master.key", &"a5".repeat(32));
        self.older_master_keys.push(std::mem::replace(&mut self.master_key, new));
        self.replica(name)
    }

    /// Another replica, which knows the newest master key only.
    pub(crate) fn without_older_master_keys(&mut self, name: &str) -> Replica {
        self.older_master_keys.clear();
        self.replica(name)
    }

    /// Starts a replica.
    pub(crate) fn start(&self, replica: &Replica) -> Process {
        Process::start("control-api", self.world.folder.path(), &["--config", &replica.config], &self.environment())
    }

    /// Enrols a gateway that finds its control API at `plane` and listens as `listen` says, and writes its configuration.
    pub(crate) fn enroll(&self, replica: &Replica, name: &str, plane: SocketAddr, listen: &str) -> String {
        let token = self.command(replica, &["gateways", "enroll", name]);
        let token = self.world.write(&format!("{name}.token"), &token);
        self.world.write(
            &format!("{name}.yaml"),
            &format!(
                "{listen}\nfeed: {{ control_api: {{ url: \"https://localhost:{}\", ca: \"{}\", join_token: \"file:{token}\" }} }}\n\
                 data_dir: {name}-data\n",
                plane.port(),
                self.ca,
            ),
        )
    }

    /// Runs a command of the control API with a replica's configuration.
    pub(crate) fn command(&self, replica: &Replica, command: &[&str]) -> String {
        let arguments = [&["--config", &replica.config][..], command].concat();
        output("control-api", &arguments, &self.environment())
    }

    /// Starts an enrolled gateway.
    pub(crate) fn start_gateway(&self, config: &str) -> Process {
        self.start_gateway_with(config, &[])
    }

    /// Starts one that takes the place of the one that runs with this configuration.
    pub(crate) fn take_over(&self, config: &str) -> Process {
        self.start_gateway_with(config, &["--take-over"])
    }

    fn start_gateway_with(&self, config: &str, more: &[&str]) -> Process {
        let arguments = [&["--config", config][..], more].concat();
        Process::start("gateway", self.world.folder.path(), &arguments, &[("REDIS_URL", &self.redis)])
    }
}

/// Loads the world's declarative folder; what was created, updated and left.
pub(crate) fn apply(world: &World, admin: SocketAddr, password_file: &str) -> String {
    let (folder, url) = (world.path("edge"), format!("http://{admin}"));
    output("portcullis", &["apply", "-f", &folder, "--url", &url, "--password-file", password_file], &[])
}
