#!/usr/bin/env bash
# Lays out a runnable OpenSearch in FOLDER, from nothing but Maven Central:
#   install.sh FOLDER       (empty or absent; needs mvn, unzip and a JDK)
# The project publishes its jars there but no ready-made distribution, so this
# does what that distribution's build does: the server's jars into lib/, and
# each module's into modules/NAME with a plugin descriptor.
# What Maven Central lacks is lacking here too: index state management, the
# extra codecs and geospatial.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/versions.env"
[ $# = 1 ] || { echo "usage: install.sh FOLDER" >&2; exit 2; }
home=$1 version=$OPENSEARCH_VERSION
# The server refuses a home without bin/, though it needs nothing there.
mkdir -p "$home"/{bin,lib,modules,plugins}
poms=$(mktemp -d)
trap 'rm -rf "$poms"' EXIT

# module | artifact | the module it extends
modules='aggs-matrix-stats|aggs-matrix-stats-client|
analysis-common|analysis-common|lang-painless
geo|geo|
ingest-common|ingest-common|lang-painless
ingest-user-agent|ingest-user-agent|
lang-expression|lang-expression|
lang-mustache|lang-mustache-client|
lang-painless|lang-painless|
mapper-extras|mapper-extras-client|
parent-join|parent-join-client|
percolator|percolator-client|
rank-eval|rank-eval-client|
reindex|reindex-client|
repository-url|repository-url|
transport-netty4|transport-netty4-client|'

# Without --quiet: what it downloads is the progress that the installer shows.
maven() { mvn --batch-mode --color never "$@"; }

# group artifact version [excluded group, artifact]. A module must not bring
# the server along, and the QUIC codec drags in native libraries.
dependency() {
  cat <<XML
<dependency><groupId>$1</groupId><artifactId>$2</artifactId><version>$3</version><exclusions>
  <exclusion><groupId>${4:-org.opensearch}</groupId><artifactId>${5:-opensearch}</artifactId></exclusion>
  <exclusion><groupId>io.netty</groupId><artifactId>netty-codec-native-quic</artifactId></exclusion>
</exclusions></dependency>
XML
}

# name, folder for its jars; dependencies on stdin
project() {
  mkdir -p "$poms/$1"
  cat > "$poms/$1/pom.xml" <<XML
<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<parent><groupId>local</groupId><artifactId>opensearch</artifactId><version>1</version></parent>
<artifactId>$1</artifactId><packaging>pom</packaging>
<properties><jars>$2</jars></properties><dependencies>
$(cat)
</dependencies></project>
XML
  projects+="<module>$1</module>"
}

# The server's POM marks as optional what a running server needs: take the
# versions that it names.
maven --quiet "org.apache.maven.plugins:maven-dependency-plugin:$MAVEN_DEPENDENCY_PLUGIN_VERSION:copy" \
  -Dartifact="org.opensearch:opensearch:$version:pom" -DoutputDirectory="$poms"
optional() { # group:artifact
  local found
  found=$(tr -d '\n ' < "$poms/opensearch-$version.pom" |
    sed -nE "s#.*<artifactId>${1#*:}</artifactId><version>([^<]+)<.*#\1#p")
  dependency "${1%:*}" "${1#*:}" "$found"
}

projects=
{
  dependency org.opensearch opensearch "$version" none none
  dependency org.opensearch opensearch-plugin-classloader "$version"
  # The server names classes of the sandboxing agent; the agent itself stays out.
  dependency org.opensearch opensearch-agent-bootstrap "$version"
  optional org.apache.logging.log4j:log4j-core
  optional org.locationtech.spatial4j:spatial4j
  optional org.locationtech.jts:jts-core
} > "$poms/dependencies"
project server "$home/lib" < "$poms/dependencies"
while IFS='|' read -r name artifact _; do
  dependency org.opensearch.plugin "$artifact" "$version" > "$poms/dependencies"
  project "module-$name" "$home/modules/$name" < "$poms/dependencies"
done <<< "$modules"

cat > "$poms/pom.xml" <<XML
<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>local</groupId><artifactId>opensearch</artifactId><version>1</version><packaging>pom</packaging>
<properties><jars>\${project.build.directory}/none</jars></properties>
<modules>$projects</modules>
<build><plugins><plugin>
  <groupId>org.apache.maven.plugins</groupId><artifactId>maven-dependency-plugin</artifactId>
  <version>$MAVEN_DEPENDENCY_PLUGIN_VERSION</version>
  <executions><execution><id>jars</id><phase>package</phase><goals><goal>copy-dependencies</goal></goals>
    <configuration><outputDirectory>\${jars}</outputDirectory><includeScope>runtime</includeScope></configuration>
  </execution></executions>
</plugin></plugins></build></project>
XML
maven --file "$poms/pom.xml" package

# The same class twice on a class path is "jar hell", which the server refuses:
# a module leaves out what the server has, and what the module it extends has.
for jar in "$home"/modules/*/*.jar; do
  [ ! -e "$home/lib/$(basename "$jar")" ] || rm "$jar"
done
while IFS='|' read -r name artifact extends; do
  module=$home/modules/$name
  if [ -n "$extends" ]; then
    for jar in "$module"/*.jar; do
      [ ! -e "$home/modules/$extends/$(basename "$jar")" ] || rm "$jar"
    done
  fi
  class=$(unzip -Z1 "$module/$artifact-$version.jar" |
    sed -nE '/(^|\/)[A-Za-z0-9]+Plugin\.class$/{s#/#.#g;s#\.class$##;p}')
  class=${class%%$'\n'*}
  [ -n "$class" ] || { echo "install.sh: no plugin class in $artifact" >&2; exit 1; }
  {
    echo "name=$name"
    echo "description=module $name"
    echo "version=$version"
    echo "opensearch.version=$version"
    echo "java.version=21"
    echo "classname=$class"
    [ -z "$extends" ] || echo "extended.plugins=$extends"
    echo "has.native.controller=false"
  } > "$module/plugin-descriptor.properties"
done <<< "$modules"
chmod -R a+rX "$home"
