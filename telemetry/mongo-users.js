// Runs once, when MongoDB's volume is new: a user of least right for each program.
// Each password is read from the secrets volume, none stands here.
const read = (name) => fs.readFileSync(`/secrets/mongo/${name}_password`, "utf8").trim();
const user = (name, roles) =>
  db.getSiblingDB("admin").createUser({ user: name, pwd: read(name), roles });

user("auth", [{ role: "readWrite", db: "event_rewards_auth" }]);
user("event", [{ role: "readWrite", db: "event_rewards_event" }]);
user("seeder", [
  { role: "readWrite", db: "event_rewards_auth" },
  { role: "readWrite", db: "event_rewards_event" },
]);
user("exporter", [
  { role: "clusterMonitor", db: "admin" },
  { role: "read", db: "local" },
]);
