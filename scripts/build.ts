/**
 * Builds the package: modules and declarations with tsc, the executable with esbuild.
 *
 * The executable is bundled with all that it needs, so that whoever installs the library never installs what only the
 * executable uses, and so that it starts quickly: what is loaded when it is asked for stands in files of its own.
 */
import { build } from "esbuild"
import { execFileSync } from "node:child_process"
import { chmodSync, existsSync, readFileSync, rmSync } from "node:fs"
import manifest from "../package.json" with { type: "json" }

process.chdir(new URL("..", import.meta.url).pathname)

const executables = { mpp: "src/cli/main.ts" }

/** A program that wants a ledger in PostgreSQL brings the client; the executable has one. */
const postgres = "@effect/sql-pg"

rmSync("dist", { recursive: true, force: true })

execFileSync(process.execPath, ["node_modules/typescript/bin/tsc", "-p", "tsconfig.build.json"], { stdio: "inherit" })

for (const [name, entry] of Object.entries(executables)) {
  const outfile = `dist/bin/${name}.mjs`
  await build({
    entryPoints: { [name]: entry },
    outdir: "dist/bin",
    outExtension: { ".js": ".mjs" },
    bundle: true,
    splitting: true,
    platform: "node",
    format: "esm",
    target: "node22",
    logLevel: "warning",
    // Installed by those who want them, and loaded when they are asked for.
    external: Object.keys(manifest.peerDependenciesMeta)
      .flatMap((peer) => peer === postgres ? [] : [peer, `${peer}/*`]),
    // Some dependencies are CommonJS and call `require` for modules of Node. Our own modules import `createRequire` as well.
    banner: {
      js: `import { createRequire as requireFrom } from "node:module"; const require = requireFrom(import.meta.url);`
    }
  })
  if (!readFileSync(outfile, "utf8").startsWith("#!")) throw new Error(`${entry} must begin with #!/usr/bin/env node`)
  chmodSync(outfile, 0o755)
}

/** Every file that package.json promises, patterns aside. */
const promised = [manifest.exports, manifest.bin]
  .flatMap((entries) => Object.values(entries))
  .flatMap((target) => target === null ? [] : typeof target === "string" ? [target] : Object.values(target))
  .filter((path) => !path.includes("*"))

const missing = promised.filter((path) => !existsSync(path))
if (missing.length > 0) throw new Error(`package.json names files that were not built: ${missing.join(", ")}`)
