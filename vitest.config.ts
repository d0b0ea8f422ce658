import { defineConfig } from "vitest/config"

/** Tests that start processes: chains, databases, servers of other people. */
const slow = [
  "test/**/*.chain.test.ts",
  "test/interop/**/*.test.ts",
  "test/testing/chain/**/*.test.ts",
  "test/merchant/Facilitator.test.ts",
  "test/merchant/Paywall.test.ts",
  "test/cli/Demo.test.ts",
  "test/**/*.postgres.test.ts",
  "test/sql/postgres.test.ts"
]

export default defineConfig({
  test: {
    maxWorkers: 2,
    // The documentation's examples are run from there.
    server: { deps: { inline: [/\/node_modules\/\.cache\/examples-/] } },
    projects: [
      {
        extends: true,
        test: {
          name: "unit",
          include: ["test/**/*.test.ts"],
          exclude: slow,
          testTimeout: 20_000
        }
      },
      {
        extends: true,
        test: {
          name: "chain",
          include: slow,
          testTimeout: 120_000,
          hookTimeout: 120_000,
          sequence: { groupOrder: 1 }
        }
      }
    ]
  }
})
