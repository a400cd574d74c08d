# SPDX-License-Identifier: Apache-2.0
#
# A client of memcached that compares every byte:
#
#	perl memcached.pl ADDRESS ID COUNT		COUNT values under keys of ID
#	perl memcached.pl ADDRESS connections COUNT	COUNT connections at once
#
# It prints "ok", or dies.
use strict;
use warnings;
use Socket qw(AF_INET AF_INET6 SOCK_STREAM IPPROTO_TCP TCP_NODELAY inet_pton pack_sockaddr_in pack_sockaddr_in6);
use IO::Handle;

my ($address, $id, $count) = @ARGV;
$SIG{ALRM} = sub { die "nothing for 30 s\n" };

sub dial {
	my $six = $address =~ /:/;
	my $packed = inet_pton($six ? AF_INET6 : AF_INET, $address) or die "address $address\n";
	socket(my $s, $six ? AF_INET6 : AF_INET, SOCK_STREAM, IPPROTO_TCP) or die "socket: $!\n";
	connect($s, $six ? pack_sockaddr_in6(11211, $packed) : pack_sockaddr_in(11211, $packed)) or die "connect: $!\n";
	setsockopt($s, IPPROTO_TCP, TCP_NODELAY, 1) or die "TCP_NODELAY: $!\n";
	$s->autoflush(1);
	binmode $s;
	return $s;
}

sub line {
	my ($s) = @_;
	alarm 30;
	my $line = <$s>;
	die "the server closed the connection\n" unless defined $line;
	$line =~ s/\r\n$//;
	return $line;
}

sub expect {
	my ($s, $want) = @_;
	my $got = line($s);
	die "answer '$got', want '$want'\n" unless $got eq $want;
}

if ($id eq "connections") {
	my @all = map { dial() } 1 .. $count;
	print {$_} "version\r\n" for @all;
	for (@all) { line($_) =~ /^VERSION / or die "no version\n" }
	print "ok\n";
	exit;
}

# A value of up to 60 KiB that depends on its number.
my $pool = pack "N*", map { ($_ * 2654435761) & 0xffffffff } 1 .. 16 * 1024;

sub value {
	my ($i) = @_;
	return substr($pool, $i * 101 % 4096, ($i * 7919 + 13) % (60 * 1024));
}

my $s = dial();
my @keys;
for my $i (1 .. $count) {
	my $v = value($i);
	my $key = "key-$id-" . $i % 200;	# 8 clients' values fit the server's memory
	print $s "set $key $i 0 ", length $v, "\r\n", $v, "\r\n";
	expect($s, "STORED");
	$keys[$i % 200] = $i;
	next if $i % 50;

	# Many keys with one request.
	my @asked = map { $_ % 200 } $i - 49 .. $i;
	print $s join(" ", "get", map { "key-$id-$_" } @asked), "\r\n";
	for my $k (@asked) {
		my $want = value($keys[$k]);
		expect($s, "VALUE key-$id-$k $keys[$k] " . length $want);
		my $got = "";
		while (length $got < 2 + length $want) {
			alarm 30;
			read($s, $got, 2 + length($want) - length $got, length $got) or die "the server closed the connection\n";
		}
		die "value $keys[$k] differs\n" unless $got eq "$want\r\n";
	}
	expect($s, "END");
}
print $s "set n-$id 0 0 1\r\n0\r\n";
expect($s, "STORED");
print $s map { "incr n-$id 1\r\n" } 1 .. 1000;	# pipelined
expect($s, $_) for 1 .. 1000;
print $s "delete n-$id\r\nget n-$id\r\nquit\r\n";
expect($s, "DELETED");
expect($s, "END");
alarm 30;
die "bytes after quit\n" if defined <$s>;
print "ok\n";
